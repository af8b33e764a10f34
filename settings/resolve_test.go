package settings

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/tasks"
)

// samples are values, as JSON, of settings for which sample does not make one up.
var samples = map[string][]string{
	"beat_schedule": {
		`{"a": {"task": "t", "schedule": {"crontab": {"minute": "*/5"}}, "args": [1, 2.0, null], "kwargs": {"b": "ü", "a": true}}, "b": 1}`,
	},
	"accept_content":                            {`["yaml", "json"]`, `[]`},
	"apium_log_format":                          {`"json"`},
	"apium_share":                               {`{"a": "12.5%", "b": 7}`, `{}`},
	"apium_shadow":                              {`{"a": "12.5%", "b": 100}`, `{}`},
	"apium_unknown_task":                        {`"park"`, `"forward:a"`, `{"*": "leave", "b": "forward:a:b"}`, `{"c": "park"}`},
	"apium_database":                            {`"postgresql://u:p@h/n"`, `{"ENGINE": "django.db.backends.sqlite3", "NAME": "/x", "TIME_ZONE": "UTC"}`},
	"apium_beat_database":                       {`"sqlite:////x"`},
	"broker_connection_timeout":                 {`1`, `4`},
	"broker_failover_strategy":                  {`"shuffle"`},
	"broker_login_method":                       {`"EXTERNAL"`},
	"broker_native_delayed_delivery_queue_type": {`"classic"`},
	"broker_pool_limit":                         {`3`, `null`, `0`},
	"broker_transport_options": {
		`{"visibility_timeout": 7.29, "priority_steps": [0, 5], "sep": ":", "fanout_prefix": false, "ack_emulation": false, "max_connections": 3}`,
		`{"fanout_prefix": "x", "fanout_patterns": false, "queue_order_strategy": "sorted", "global_keyprefix": "p", "deadletter_queue": "d"}`,
		`{"client_properties": {"connection_name": "x", "n": 1}, "manager_hostname": "h", "manager_port": 15673, "manager_userid": "u", "manager_password": "p", "channel_max": 7, "frame_max": 8192, "consumer_timeout": 7200, "confirm_publish": true}`,
		`{"socket_timeout": 3, "client_name": "n", "master_name": "m", "sentinel_kwargs": {"password": "x"}, "unacked_restore_limit": 4}`,
	},
	"broker_url":              {`"redis://h"`, `["redis://a", "redis://b"]`},
	"broker_read_url":         {`"redis://h"`},
	"broker_write_url":        {`"redis://h"`},
	"broker_use_ssl":          {`true`, `{"ssl_cert_reqs": "none", "ssl_check_hostname": false}`, `{"keyfile": "k", "certfile": "c", "ca_data": "d"}`, `{"server_hostname": "h"}`, `{"server_hostname": null}`},
	"database_engine_options": {`{"pool_size": 7, "pool_recycle": 60}`},
	"database_table_names":    {`{"task": "a", "group": "b"}`},
	"database_table_schemas":  {`{"task": "a"}`, `{"group": "b"}`},
	"event_serializer":        {`"yaml"`},
	"redbeat_lock_key":        {`"x"`, `null`},
	"redbeat_redis_options":   {`{"socket_timeout": 3, "retry_period": 60}`},
	"redbeat_redis_use_ssl":   {`{"ssl_cert_reqs": 2}`},
	"redis_backend_use_ssl":   {`{"ssl_cert_reqs": 2, "ssl_ca_certs": "c"}`},
	"result_accept_content":   {`["yaml"]`},
	"result_backend":          {`"redis://h/1"`, `"redis"`, `"disabled://"`},
	"result_chord_expires":    {`0`, `7`},
	"result_failure_expires":  {`0`, `7.5`},
	"result_compression":      {`"gzip"`},
	"result_serializer":       {`"yaml"`},
	"result_backend_transport_options": {
		`{"result_chord_ordered": false, "global_keyprefix": "p", "health_check_interval": 1.5, "retry_policy": {"timeout": 5}}`,
	},
	"task_annotations": {
		`{"a": {"rate_limit": "1/s", "priority": 3, "autoretry_for": ["E"], "retry_kwargs": {"max_retries": null}, "time_limit": null}, "*": {"acks_late": false}}`,
		`[{"a": {"rate_limit": null, "retry_backoff": true}}, {"a": {"queue": "q"}, "b": {"queue": "q", "serializer": "yaml", "delivery_mode": 1, "expires": 2.5}}]`,
	},
	"task_compression":                        {`"zstd"`},
	"task_create_missing_queue_exchange_type": {`"topic"`},
	"task_create_missing_queue_type":          {`"quorum"`},
	"task_default_queue_type":                 {`"quorum"`},
	"task_queue_max_priority":                 {`0`, `255`},
	"task_default_delivery_mode":              {`1`},
	"task_default_exchange_type":              {`"topic"`},
	"task_default_priority":                   {`0`, `9`, `11`},
	"task_default_rate_limit":                 {`"5/m"`, `2.5`},
	"task_protocol":                           {`1`},
	"task_publish_retry_policy":               {`{"max_retries": null}`, `{"max_retries": 7, "interval_start": 0.29, "interval_max": 0}`},
	"task_queues": {
		`["a", {"name": "b", "alias": "c", "exchange": "x", "exchange_type": "topic", "binding_key": "k", "delivery_mode": 1}]`,
		`{"a": {"bindings": [{"exchange": "x"}, {"exchange": "y", "exchange_type": "topic", "routing_key": "k"}]}, "b": {"broadcast": true}}`,
		`[{"name": "a", "queue_arguments": {"x-queue-type": "quorum", "x-y": [1, 2.5, {"z": null, "t": true}]}, "message_ttl": 1.5, "max_length_bytes": 5000000000}]`,
		`[{"name": "a", "exchange": "x", "durable": false, "queue_auto_delete": true, "exclusive": true, "no_declare": true, "exchange_no_declare": true}]`,
		`[{"name": "a", "consumer_arguments": {"x-priority": 3}, "binding_arguments": {"b": 1}, "exchange": "e", "exchange_auto_delete": true, "exchange_arguments": {"c": "d"}}]`,
		`[{"name": "a", "bindings": [{"exchange": "x", "exchange_durable": false, "arguments": {"b": 1}}, {"exchange": "y", "exchange_arguments": {"c": 1}}]}]`,
	},
	"task_routes": {
		`{"a.b": "q", "a.*": {"queue": "r", "priority": 0, "retry": false, "retry_policy": {"max_retries": 1}}}`,
		`[[["a", "q"], [{"regex": "a.*"}, {"exchange": "x", "exchange_type": "topic", "routing_key": "k"}]]]`,
		`[{"a.*": "q"}, {"a.b": "hidden", "c": "r", "a.c*": "s"}, {"c": "hidden"}]`,
	},
	"task_serializer":            {`"yaml"`},
	"timezone":                   {`"Asia/Shanghai"`},
	"worker_concurrency":         {`3`, `"auto"`},
	"worker_pool":                {`"solo"`, `"prefork"`},
	"worker_prefetch_multiplier": {`1`, `4`, `0`},
}

// sample returns values of a setting that are not its default, as JSON.
func sample(t *testing.T, e *entry) []string {
	t.Helper()
	if given, ok := samples[e.name]; ok {
		return given
	}
	s := Default()
	switch field := e.field(s).(type) {
	case *bool:
		if *field {
			return []string{"false"}
		}
		return []string{"true"}
	case **bool:
		return []string{"true", "false"}
	case *int, positive:
		return []string{"7"}
	case *string:
		return []string{`"x"`}
	case *time.Duration, **time.Duration:
		return []string{"7", "7.5"}
	}
	t.Fatalf("%s has no sample", e.name)
	return nil
}

// TestGoMeansWhatAFileMeans: every setting, assigned in Go, comes to what the same value comes
// to in a file.
func TestGoMeansWhatAFileMeans(t *testing.T) {
	t.Parallel()
	reached := map[string]string{} // fields, and by which setting
	all := entries()
	for i := range all {
		e := &all[i]
		if e.field == nil {
			continue
		}
		for _, value := range sample(t, e) {
			loaded := loadJSON(t, json.RawMessage(`{"`+e.name+`": `+value+`}`))
			assigned := Default()
			changed := changedFields(t, loaded)
			if e.name == "broker_host" { // broker_url follows from it
				changed = []string{"BrokerHost"}
			}
			for _, field := range changed {
				reached[field] += " " + e.name
				reflect.ValueOf(assigned).Elem().FieldByName(field).Set(reflect.ValueOf(loaded).Elem().FieldByName(field))
			}
			resolved, err := assigned.Resolve()
			if err != nil {
				t.Errorf("%s = %s: %v", e.name, value, err)
				continue
			}
			sameSettings(t, e.name+" = "+value, loaded, resolved, len(changed) > 0)
			again, err := loaded.Resolve()
			if err != nil {
				t.Errorf("%s = %s, again: %v", e.name, value, err)
				continue
			}
			sameSettings(t, e.name+" = "+value+", again", loaded, again, true)
			if loaded.Origin(e.name) != again.Origin(e.name) {
				t.Errorf("%s: origin %v, then %v", e.name, loaded.Origin(e.name), again.Origin(e.name))
			}
		}
	}
	typ := reflect.TypeFor[Settings]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Name; typ.Field(i).IsExported() && name != "Warnings" && reached[name] == "" {
			t.Errorf("field %s is no setting's, or has no sample that changes it", name)
		}
	}
}

// TestEmptyIsNothing: an empty mapping or list is the same whether a file gives it or Go does.
func TestEmptyIsNothing(t *testing.T) {
	t.Parallel()
	all := entries()
	for i := range all {
		e := &all[i]
		if e.field == nil {
			continue
		}
		for _, value := range []string{`{}`, `[]`, `[{}]`, `{"a": {}}`, `{"a": []}`, `{"*": {}}`, `{"*": "fail"}`, `[{"name": "q", "queue_arguments": {}, "bindings": []}]`} {
			s, err := Load(Sources{File: write(t, "settings.json", `{"`+e.name+`": `+value+`}`)})
			if err == nil {
				t.Run(e.name+" = "+value, func(t *testing.T) { sameInGo(t, s) })
			}
		}
	}
}

// changedFields are the fields that differ from the defaults.
func changedFields(t *testing.T, s *Settings) (names []string) {
	t.Helper()
	got, def := reflect.ValueOf(s).Elem(), reflect.ValueOf(Default()).Elem()
	for i := range got.NumField() {
		field := got.Type().Field(i)
		if field.IsExported() && field.Name != "Warnings" && !reflect.DeepEqual(got.Field(i).Interface(), def.Field(i).Interface()) {
			names = append(names, field.Name)
		}
	}
	return names
}

// sameSettings compares all but what only a file can say: that it gives a default.
func sameSettings(t *testing.T, what string, want, got *Settings, given bool) {
	t.Helper()
	x, y := reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()
	for i := range x.NumField() {
		if field := x.Type().Field(i); field.IsExported() && field.Name != "Warnings" {
			if diff := cmp.Diff(x.Field(i).Interface(), y.Field(i).Interface()); diff != "" {
				t.Errorf("%s: %s (-file +Go):\n%s", what, field.Name, diff)
			}
		}
	}
	for _, e := range entries() {
		if given && (want.IsSet(e.name) != got.IsSet(e.name) || want.Changed(e.name) != got.Changed(e.name)) {
			t.Errorf("%s: %s is set %v, changed %v in the file; set %v, changed %v in Go", what, e.name,
				want.IsSet(e.name), want.Changed(e.name), got.IsSet(e.name), got.Changed(e.name))
		}
	}
	if given && len(want.Warnings) != len(got.Warnings) && !strings.Contains(strings.Join(want.Warnings, ""), "counts as 9") {
		t.Errorf("%s: warnings %q from the file, %q in Go", what, want.Warnings, got.Warnings)
	}
}

// sameInGo assigns all fields of settings to other ones, which must come to the same.
func sameInGo(t *testing.T, s *Settings) {
	t.Helper()
	assigned := Default()
	for _, field := range changedFields(t, s) {
		reflect.ValueOf(assigned).Elem().FieldByName(field).Set(reflect.ValueOf(s).Elem().FieldByName(field))
	}
	resolved, err := assigned.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	sameSettings(t, "assigned", s, resolved, false)
}

// What is wrong in Go is said as of a file, under Celery's name.
func TestResolveReports(t *testing.T) {
	t.Parallel()
	for want, set := range map[string]func(s *Settings){
		"task_time_limit: must be a number of seconds from 0 to 3153600000, not -1":                          func(s *Settings) { s.TaskTimeLimit = -time.Second },
		"task_serializer: 'jsn' is not one of " + strings.Join(serializers, ", ") + ". Did you mean 'json'?": func(s *Settings) { s.TaskSerializer = "jsn" },
		"worker_concurrency: -1 is negative":                                                                 func(s *Settings) { s.WorkerConcurrency = -1 },
		"worker_prefetch_multiplier: -2 is negative":                                                         func(s *Settings) { s.WorkerPrefetchMultiplier = new(-2) },
		"timezone: unknown time zone 'Europe/Pariss'":                                                        func(s *Settings) { s.Timezone = "Europe/Pariss" },
		"task_protocol: there are task protocols 1 and 2, not 3":                                             func(s *Settings) { s.TaskProtocol = 3 },
		"task_default_rate_limit: must be a rate like 10/s, 100/m or 5/h, not '10/d'":                        func(s *Settings) { s.TaskDefaultRateLimit = new("10/d") },
		"task_annotations: *: rate_limit: must be a rate like 10/s, 100/m or 5/h, not 'x'": func(s *Settings) {
			s.TaskAnnotations = Annotations{"*": {RateLimit: new("x")}}
		},
		"task_queues: 1: a queue needs a name":                func(s *Settings) { s.TaskQueues = []Queue{{Alias: "a"}} },
		"task_queues: 2: the queues 'a' and 'b' share a name": func(s *Settings) { s.TaskQueues = []Queue{{Name: "a"}, {Name: "b", Alias: "a"}} },
		"task_routes: 1: 1: regex a(?=b): the pattern cannot be used in Go: error parsing regexp: invalid or unsupported Perl syntax: `(?=`": func(s *Settings) {
			s.TaskRoutes = Routes{{Regexp: "a(?=b)", Queue: "q"}}
		},
		"task_routes: a: serializer: 'jsn' is not one of " + strings.Join(serializers, ", ") + ". Did you mean 'json'?": func(s *Settings) {
			s.TaskRoutes = Routes{{Task: "a", Serializer: "jsn"}}
		},
		"apium_unknown_task: 'forward' is not one of fail, leave, park, forward:<queue>": func(s *Settings) {
			s.UnknownTask.Default.Action = tasks.UnknownForward
		},
		"apium_unknown_task: q: a queue cannot forward to itself": func(s *Settings) {
			s.UnknownTask.Queues = map[string]tasks.UnknownPolicy{"q": {Action: tasks.UnknownForward, Queue: "q"}}
		},
		"apium_unknown_task: 'action 7' is not one of fail, leave, park, forward:<queue>": func(s *Settings) { s.UnknownTask.Default.Action = 7 },
		"broker_transport_options: visibility_timeout: 500ms is less than a second": func(s *Settings) {
			s.BrokerTransportOptions.VisibilityTimeout = time.Second / 2
		},
		"2 problems with the settings:\n  task_protocol: there are task protocols 1 and 2, not 0\n  apium_max_redeliveries: -1 is negative": func(s *Settings) {
			s.TaskProtocol, s.MaxRedeliveries = 0, -1
		},
	} {
		s := Default()
		set(s)
		_, err := s.Resolve()
		var problems *Error
		if !errors.As(err, &problems) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	s := Default()
	s.TaskTimeLimit, s.TaskSoftTimeLimit, s.TaskDefaultPriority = time.Second, time.Second, new(11)
	s.TaskRoutes = Routes{{Queue: "q"}}
	r, err := s.Resolve()
	want := []string{
		"task_default_priority counts as 9: priorities are 0 to 9",
		"task_routes:  has no effect: a route needs a task, or a regular expression",
		"task_soft_time_limit has no effect: it is not less than task_time_limit",
	}
	if err != nil || !slices.Equal(r.Warnings, want) || *r.TaskDefaultPriority != 9 || *s.TaskDefaultPriority != 11 {
		t.Errorf("%v, %q", err, r.Warnings)
	}
}

// What Go changes of a file's settings wins over it, and the rest stays the file's.
func TestResolveAfterLoad(t *testing.T) {
	t.Parallel()
	s := loadJSON(t, json.RawMessage(`{"result_backend": "redis", "redis_host": "r", "task_time_limit": 5, "task_ack_late": true, "beat_schedule": {"x": 1},
		"task_queues": ["a"], "task_track_started": true, "worker_max_tasks_per_child": 3}`))
	s.RedisHost, s.TaskTimeLimit, s.TaskTrackStarted, s.TaskQueues[0].RoutingKey = "other", 7*time.Second, false, "k"
	s.Warnings = append(s.Warnings, "of mine")
	r, err := s.Resolve()
	if err == nil {
		r, err = r.Resolve() // which changes nothing
	}
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		r.ResultBackend, r.TaskTimeLimit, r.TaskTrackStarted, r.TaskQueues, r.Origin("task_time_limit"), r.IsSet("beat_schedule"),
		r.Changed("task_track_started"), len(r.Warnings), r.Warnings[len(r.Warnings)-1], slices.Sorted(maps.Keys(r.Table(false))), r.Table(false)["task_time_limit"],
	}
	want := []any{
		"redis://other/0", 7 * time.Second, false,
		[]broker.Queue{{Name: "a", RoutingKey: "k"}},
		Origin{Key: "task_time_limit"},
		true,
		false, 2, "of mine",
		[]string{
			"beat_schedule", "redis_host", "result_backend", "task_queues", "task_time_limit", "task_track_started", "worker_max_tasks_per_child",
		},
		int64(7),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%q", diff, r.Warnings)
	}
}

// What only Go can say is not lost.
func TestResolveKeepsWhatNoFileCanSay(t *testing.T) {
	t.Parallel()
	s := Default()
	certificates := &tls.Config{MinVersion: tls.VersionTLS13}
	s.BrokerUseSSL = &TLS{Config: certificates}
	s.BrokerTransportOptions.Dial = new(net.Dialer).DialContext
	s.ResultBackendTransportOptions.SocketTimeout, s.ResultBackendTransportOptions.HealthCheckInterval = -1, -1
	r, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if o := r.ResultBackendTransportOptions; r.BrokerUseSSL.Config != certificates || r.BrokerTransportOptions.Dial == nil || o.SocketTimeout != -1 || o.HealthCheckInterval != -1 {
		t.Errorf("%+v", r)
	}
}
