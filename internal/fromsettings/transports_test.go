package fromsettings_test

import (
	"strings"
	"testing"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
)

// Every scheme of kombu and Celery (TRANSPORT_ALIASES and BACKEND_ALIASES of 5.7) is known, and
// what is not built says so.
func TestSchemes(t *testing.T) {
	t.Parallel()
	read := func(broker, results string) string {
		conf := settings.Default()
		conf.BrokerURL, conf.ResultBackend = broker, results
		cs := fromsettings.URLs(conf)
		if err := cs.Read(conf); err != nil {
			return err.Error()
		}
		return ""
	}
	for _, scheme := range strings.Fields("SLMQ SQS azureservicebus azurestoragequeues confluentkafka consul etcd filesystem " +
		"gcpubsub kafka mongodb pgmq pyro qpid slmq sqla sqlalchemy sqs zookeeper sqla+postgresql") {
		if err := read(scheme+"://user:secret@h//", ""); !strings.HasPrefix(err, "broker: "+scheme+":// is not supported yet: ") || strings.Contains(err, "secret") {
			t.Errorf("%s: %q", scheme, err)
		}
	}
	for _, url := range strings.Fields("django-db django-cache db+postgresql://u:secret@h/x db+sqlite:///x database://x cache+memcached://h/ cache://h " +
		"mongodb://h mongodb+srv://h cassandra:// elasticsearch://h couchbase://h couchdb://h arangodb://h riak://h consul://h cosmosdbsql://h " +
		"dynamodb://h s3://b gs://b azureblockblob://h file:///x amqp://") {
		if err := read("redis://h", url); !strings.Contains(err, "' is not supported yet: ") || strings.Contains(err, "secret") {
			t.Errorf("%s: %q", url, err)
		}
	}
	for _, urls := range [][2]string{
		{"redis://h", "redis://h"},
		{"rediss://h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=none"},
		{"redis+socket:///s", "redis+socket:///s"},
		{"redis://a;redis://b", ""},
		{"memory://", "cache+memory://"},
		{"amqp://", "rpc://"},
		{"amqps://u:secret@h/v", "rpc"},
		{"pyamqp://u:secret@h//", "redis://h"},
		{"librabbitmq://a;b", ""},
	} {
		if err := read(urls[0], urls[1]); err != "" {
			t.Errorf("%q: %s", urls, err)
		}
	}
	for url, want := range map[string]string{
		"reids://u:secret@h": "broker: there is no 'reids'. Did you mean 'redis'?",
		"ampq://u:secret@h":  "broker: there is no 'ampq'. Did you mean 'amqp'?",
		"u:secret@h:6379":    "broker: it should start with redis:// or amqp://",
	} {
		if err := read(url, ""); err != want {
			t.Errorf("%s: %q, want %q", url, err, want)
		}
	}
	if err := read("redis://h", "rpc://"); !strings.Contains(err, "rpc:// sends results through RabbitMQ") {
		t.Errorf("rpc:// on Redis: %q", err)
	}
	// kombu sends results through any broker: what is not built here is left to the app that has it.
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = "redis://h", "rpc://"
	cs := fromsettings.URLs(conf)
	cs.Python.Stores = true
	if err := cs.Read(conf); err != nil || cs.BackendURL != "" {
		t.Errorf("rpc:// of an app on Redis: %q, %v", cs.BackendURL, err)
	}
	for url, want := range map[string]string{
		"mongdb://u:secret@h":             "result backend: there is no 'mongdb'. Did you mean 'mongodb'?",
		"proj.backends:Own":               "result backend: 'proj.backends:Own' is a class in Python, and cannot be used here",
		"proj.backends.Own://u:secret@h/": "result backend: 'proj.backends.Own://' is a class in Python",
	} {
		if err := read("redis://h", url); !strings.HasPrefix(err, want) || strings.Contains(err, "secret") {
			t.Errorf("%s: %q, want %q", url, err, want)
		}
	}
}

// What cannot be opened is nil, and not an interface that holds a nil.
func TestUnreachableIsNil(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"} {
		conf := settings.Default()
		conf.BrokerURL = url
		cs := fromsettings.URLs(conf)
		if err := cs.Read(conf); err != nil {
			t.Fatal(err)
		}
		publisher, err := cs.OpenPublisher(t.Context())
		m, errManagement := cs.OpenManagement(t.Context())
		letters, errLetters := cs.OpenDeadLetters(t.Context())
		if publisher != nil || m != nil || letters != nil || err == nil || errManagement == nil || errLetters == nil {
			t.Errorf("%s: %v, %v, %v; %v, %v, %v", url, publisher, m, letters, err, errManagement, errLetters)
		}
	}
}
