package settings

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// check looks at what settings say together, and settles what they leave to each other.
func (s *Settings) check(d *decoder) {
	d.path = nil
	if s.BrokerURL == "" && s.BrokerHost != "" {
		s.BrokerURL = s.brokerURL()
	}
	if s.ResultBackend == "redis" || s.ResultBackend == "rediss" {
		s.ResultBackend = makeURL(s.ResultBackend, "", "", cmp.Or(s.RedisHost, "localhost"), s.RedisPort, strconv.Itoa(s.RedisDB))
	}
	if s.ResultBackend == "disabled" || s.ResultBackend == "disabled://" {
		s.ResultBackend = ""
	}
	if s.TaskTimeLimit > 0 && s.TaskSoftTimeLimit >= s.TaskTimeLimit {
		d.origin = s.Origin("task_soft_time_limit")
		d.warn("has no effect: it is not less than task_time_limit")
	}
	if s.IsSet("task_acks_on_failure_or_timeout") && s.TaskAcksOnFailure != nil && s.TaskAcksOnTimeout != nil &&
		*s.TaskAcksOnFailure != s.TaskAcksOnFailureOrTimeout && *s.TaskAcksOnTimeout != s.TaskAcksOnFailureOrTimeout {
		d.origin = s.Origin("task_acks_on_failure_or_timeout")
		d.warn("has no effect: task_acks_on_failure and task_acks_on_timeout both say otherwise")
	}
	s.checkRoutes(d)
}

// checkRoutes finds queues that are used but not declared, when that is forbidden.
func (s *Settings) checkRoutes(d *decoder) {
	if s.TaskCreateMissingQueues {
		return
	}
	queues := s.Queues()
	use := func(setting, queue string) {
		if queue == "" {
			return
		}
		if _, err := queues.Get(queue); err != nil {
			d.origin = s.Origin(setting)
			d.bad("%v, and task_create_missing_queues is off", err)
		}
	}
	use("task_default_queue", s.TaskDefaultQueue)
	for _, table := range s.TaskRoutes {
		for _, name := range slices.Sorted(maps.Keys(table.names)) {
			use("task_routes", table.names[name].Queue)
		}
		for _, p := range table.patterns {
			use("task_routes", p.options.Queue)
		}
	}
	for _, task := range s.TaskAnnotations.Tasks() {
		if queue := s.TaskAnnotations.For(task).Queue; queue != nil {
			use("task_annotations", *queue)
		}
	}
}

// brokerURL makes a URL of Celery's oldest settings.
func (s *Settings) brokerURL() string {
	if strings.Contains(s.BrokerHost, "://") {
		return s.BrokerHost
	}
	return makeURL(cmp.Or(s.BrokerTransport, "amqp"), s.BrokerUser, s.BrokerPassword, s.BrokerHost, s.BrokerPort, s.BrokerVhost)
}

func makeURL(scheme, user, password, host string, port int, path string) string {
	u := url.URL{Scheme: scheme, Host: host, Path: "/" + strings.TrimPrefix(path, "/")}
	if port != 0 {
		u.Host += ":" + strconv.Itoa(port)
	}
	switch {
	case password != "":
		u.User = url.UserPassword(user, password)
	case user != "":
		u.User = url.User(user)
	}
	return u.String()
}
