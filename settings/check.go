package settings

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
)

// check looks at what settings say together, and settles what they leave to each other.
func (s *Settings) check(d *decoder) {
	d.path = nil
	if s.BrokerURL == "" && s.BrokerHost != "" {
		s.BrokerURL = s.brokerURL()
	}
	s.ResultBackend = s.ResultURL(s.ResultBackend)
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

// ResultURL is the URL of a result backend given as in result_backend: what the URL leaves
// out is in redis_host, redis_port and redis_db. It is "" if results are disabled.
func (s *Settings) ResultURL(backend string) string {
	host, port := cmp.Or(s.RedisHost, "localhost"), s.RedisPort
	switch backend {
	case "disabled", "disabled://":
		return ""
	case "redis", "rediss", "celery.backends.redis:RedisBackend", "celery.backends.redis.RedisBackend":
		return makeURL("redis", "", "", host, port, strconv.Itoa(s.RedisDB)) // TLS is redis_backend_use_ssl
	}
	scheme, rest, _ := strings.Cut(backend, "://")
	switch {
	case scheme == "redis+socket" && s.RedisDB != 0 && !strings.Contains(rest, "virtual_host="):
		separator := "?"
		if strings.Contains(rest, "?") {
			separator = "&"
		}
		return backend + separator + "virtual_host=" + strconv.Itoa(s.RedisDB)
	case scheme != "redis" && scheme != "rediss" || s.RedisHost == "" && port == 0:
		return backend
	}
	end := strings.IndexAny(rest+"/", "/?#")
	login, address := "", rest[:end]
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		login, address = address[:at+1], address[at+1:]
	}
	if address == "" || address[0] == ':' {
		address = host + address
	}
	if port != 0 && strings.LastIndexByte(address, ':') <= strings.LastIndexByte(address, ']') {
		address += ":" + strconv.Itoa(port)
	}
	return scheme + "://" + login + address + rest[end:]
}

// checkRoutes finds queues that are used but not declared, when that is forbidden. What is
// sent there fails, as in Celery; everything else works.
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
			if d.origin = s.Origin(setting); d.origin.Key == "" {
				d.origin.Key = setting
			}
			d.warn("names a queue that no task can be sent to, as task_create_missing_queues is off: %v", err)
		}
	}
	use("task_default_queue", s.TaskDefaultQueue)
	for _, route := range s.TaskRoutes {
		use("task_routes", route.Queue)
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
