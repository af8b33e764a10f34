package fromsettings

// missingTransports are kombu's transports (kombu/transport/__init__.py: TRANSPORT_ALIASES) that
// are not built, and what to do instead.
var missingTransports = map[string]string{
	"amqp": rabbit, "amqps": rabbit, "pyamqp": rabbit, "librabbitmq": rabbit,
	"qpid":              python,
	"sqs":               "leave these queues to Python's worker, or forward what is for Go to a queue in Redis",
	"slmq":              python,
	"azureservicebus":   python,
	"azurestoragequeue": python, "azurestoragequeues": python,
	"gcpubsub": python,
	"kafka":    python, "confluentkafka": python,
	"mongodb": python,
	"pgmq":    python,
	"sqla":    python, "sqlalchemy": python,
	"filesystem": "in one process, memory:// does", "pyro": python,
	"consul": python, "etcd": python,
	"zookeeper": python,
}

const (
	python = "leave these queues to Python's worker"
	rabbit = "RabbitMQ's queues are for Python's worker until then; send what is for Go to a second app with a broker in Redis"
)

// missingResults are Celery's result backends (celery/app/backends.py: BACKEND_ALIASES), and
// others that are common, by what stands before :// or a +, and what to do instead.
var missingResults = map[string]string{
	"rpc": "results are not sent as messages", "amqp": "results are not sent as messages",
	"db": inSQL, "database": inSQL, "sqla": inSQL,
	"django-db": inSQL, "django-cache": "Django's cache is Python's",
	"cache":   "memcached is not spoken here; in one process, cache+memory:// does",
	"mongodb": elsewhere, "cassandra": elsewhere, "elasticsearch": elsewhere, "couchbase": elsewhere, "couchdb": elsewhere,
	"arangodb": elsewhere, "riak": elsewhere, "consul": elsewhere, "etcd": elsewhere, "cosmosdbsql": elsewhere, "dynamodb": elsewhere,
	"s3": elsewhere, "gs": elsewhere, "azureblockblob": elsewhere, "file": "files are not written here",
}

const (
	inSQL     = "results in SQL are Python's until then"
	elsewhere = "only Python's worker stores results there"
)
