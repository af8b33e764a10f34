package app_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.uber.org/goleak"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/settings"
)

// No goroutine outlives what started it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// With task_create_missing_queues off an app opens, and sends only to queues that are declared.
func TestMissingQueues(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	conf := settings.Default()
	conf.BrokerURL, conf.TaskCreateMissingQueues, conf.TaskQueues = server.URL(1), false, []settings.Queue{{Name: "feeds"}}
	a, err := app.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Send(t.Context(), canvas.Sig("a").Set(canvas.Queue("feeds"))); err != nil {
		t.Error(err)
	}
	for _, sig := range []canvas.Signature{canvas.Sig("a"), canvas.Sig("a").Set(canvas.Queue("other"))} {
		if _, err := a.Send(t.Context(), sig); err == nil || !strings.Contains(err.Error(), "missing from task_queues") {
			t.Errorf("%v", err)
		}
	}
	keys, err := redis.Strings(server.Dial(t, 1).Do("KEYS", "*"))
	if err != nil || slices.Contains(keys, "celery") || slices.Contains(keys, "other") || !slices.Contains(keys, "feeds") {
		t.Errorf("keys %v, %v", keys, err)
	}
}

// An app sends as its settings say: where to, and in what form.
func TestSettings(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "celery.json")
	if err := os.WriteFile(file, []byte(`{
		"broker_url": "`+server.URL(1)+`", "broker_transport_options": {"global_keyprefix": "p:"},
		"task_default_queue": "others", "task_routes": {"shop.*": "shop"}, "task_serializer": "yaml"
	}`), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := settings.Load(settings.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, task := range []string{"shop.price", "mail.send"} {
		if _, err := a.Delay(t.Context(), task, "tea"); err != nil {
			t.Fatal(err)
		}
	}
	accept, err := protocol.NewAccept("yaml")
	if err != nil {
		t.Fatal(err)
	}
	decoder := protocol.Decoder{Accept: accept, Serializer: serializer.ByContentType}
	conn := server.Dial(t, 1)
	for queue, name := range map[string]string{"shop": "shop.price", "others": "mail.send"} {
		raw, err := redis.Bytes(conn.Do("LINDEX", "p:"+queue, 0))
		if err != nil {
			t.Fatalf("queue %s: %v", queue, err)
		}
		task, err := decoder.Decode(envelopetest.Open(raw))
		if err != nil || task.Name != name || string(task.Args) != `["tea"]` {
			t.Errorf("queue %s: %+v, %v", queue, task, err)
		}
	}
}

// Settings assigned in Go count like those of a file: with broker_connection_timeout, a server
// that does not answer is given up then, and not after ten seconds.
func TestAssignedSettings(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // it accepts, and says nothing
	conf := settings.Default()
	conf.BrokerURL, conf.BrokerConnectionTimeout = "redis://"+listener.Addr().String(), 50*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	if _, err = app.Open(ctx, conf); err == nil || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "redis://:secret@" + listener.Addr().String()
	listener.Close()
	server := redistest.Start(t)
	for want, set := range map[string]func(*settings.Settings){
		"nothing listens":             func(s *settings.Settings) { s.BrokerURL = nobody },
		"broker: ":                    func(s *settings.Settings) { s.BrokerURL = "sqs://localhost" },
		"result backend: ":            func(s *settings.Settings) { s.ResultBackend = "db+sqlite:///x" },
		"no database of that number":  func(s *settings.Settings) { s.BrokerURL = server.URL(99) },
		"task_serializer: 'jsn' is":   func(s *settings.Settings) { s.TaskSerializer = "jsn" },
		"result_serializer: 'jsn' is": func(s *settings.Settings) { s.ResultBackend, s.ResultSerializer = server.URL(0), "jsn" },
	} {
		conf := settings.Default()
		conf.BrokerURL = server.URL(0)
		set(conf)
		a, err := app.Open(t.Context(), conf)
		if err == nil {
			t.Errorf("no error about %q", want)
			a.Close()
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %q, want one about %q", err, want)
		}
	}
}
