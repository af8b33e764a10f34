package compat_test

// onRabbitMQ ends the name of a world whose broker is RabbitMQ. The same differences are accepted there.
const onRabbitMQ = " on RabbitMQ"

// rabbitWorlds are some of the others with RabbitMQ as the broker.
var rabbitWorlds = onRabbit(map[string]world{
	"plain":    worlds["plain"],
	"canvas":   worlds["canvas"],
	"deaths":   worlds["deaths"],
	"limits":   worlds["limits"],
	"hooks":    hookedWorlds["hooks"],
	"pickle":   hookedWorlds["pickle"],
	"requests": {older: true, scenarios: requestScenarios},
})

// requestScenarios: what tasks see of their messages.
var requestScenarios = map[string]scenario{
	"request":              plainScenarios["request"],
	"request with headers": plainScenarios["request with headers"],
	"request with options": plainScenarios["request with options"],
	"request of a retry":   plainScenarios["request of a retry"],
	"request of protocol 1": {do: "import kombu\nwith app.connection_for_write() as c: kombu.Producer(c).publish({'task': 'shoptasks.request', 'id': 'old-2', 'args': [], 'kwargs': {}, " +
		"'retries': 0, 'eta': None, 'expires': None}, routing_key='celery', serializer='json')\nroots['old-2'] = 'request'"},
	"late, rejected": deathScenarios["late, rejected"],
}

func onRabbit(of map[string]world) map[string]world {
	all := map[string]world{}
	for name, w := range of {
		w.rabbit, w.inGo = true, false
		w.older = w.older && name == "requests"
		all[name+onRabbitMQ] = w
	}
	return all
}
