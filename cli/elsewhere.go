package cli

// elsewhere says, to users of the program, of each command of Celery's (and of Flower's, which hangs itself in there) that is
// not one of ours, what is to be done instead.
func elsewhere(program, command string) string {
	return map[string]string{
		"multi": "Each worker is a service of its own: systemd, Docker or Kubernetes start and stop them (docs/deployment.md).",
		"amqp": "'" + program + " list queues' and 'list bindings' show what the broker has, '" + program + " purge' empties queues; " +
			"rabbitmqadmin and rabbitmqctl do the rest.",
		"shell":   "It is Python's: run 'celery shell' where the app is installed. '" + program + " send' and 'result' call tasks from here.",
		"migrate": "Let workers of the old broker run until '" + program + " list queues' shows that it is empty; producers send to the new one meanwhile.",
		"upgrade": "There is nothing to upgrade: settings are read under Celery's old and new names. 'celery upgrade settings' rewrites Python files.",
		"graph":   "'" + program + " status' and 'inspect stats' show the workers; there are no bootsteps to draw.",
		"logtool": "With --log-format json a worker's log is one object a line, for jq and the like (docs/operating.md).",
		"flower":  "It is a program of its own, and shows these workers as it shows Celery's: run 'celery flower' where the app is installed.",
	}[command]
}
