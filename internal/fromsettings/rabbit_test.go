package fromsettings_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
)

// rabbit reads settings, as JSON, of a worker on RabbitMQ.
func rabbit(t *testing.T, doc map[string]any) (fromsettings.Connections, error) {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := settings.Load(settings.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	return fromsettings.ForWorker(conf, "celery@h", conf.Queues().All(), fromsettings.Python{}, nil)
}

// Every setting that concerns RabbitMQ alone has an effect on what connects to it.
func TestSettingsOfRabbit(t *testing.T) {
	t.Parallel()
	for setting, c := range map[string]struct {
		value any
		of    func(cs *fromsettings.Connections) any
		want  any
	}{
		"broker_heartbeat":          {7, func(cs *fromsettings.Connections) any { return cs.Rabbit.Consumer.Connection.Heartbeat }, 7 * time.Second},
		"broker_connection_timeout": {9, func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.Connection.SocketConnectTimeout }, 9 * time.Second},
		"broker_login_method":       {"EXTERNAL", func(cs *fromsettings.Connections) any { return cs.Rabbit.Consumer.Connection.LoginMethod }, "EXTERNAL"},
		"broker_failover_strategy":  {"shuffle", func(cs *fromsettings.Connections) any { return cs.Rabbit.Consumer.Connection.Shuffle }, true},
		"broker_connection_retry":   {false, func(cs *fromsettings.Connections) any { return cs.Rabbit.Consumer.MaxReconnects }, -1},
		"broker_use_ssl": {map[string]any{"server_hostname": "x"}, func(cs *fromsettings.Connections) any {
			return cs.Rabbit.Results.Connection.UseTLS.ServerHostname
		}, "x"},
		"broker_write_url":        {"amqp://w", func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.URL + " " + cs.Rabbit.Consumer.URL }, "amqp://w amqp://r"},
		"control_queue_ttl":       {7, func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.Control.TTL }, 7 * time.Second},
		"control_queue_expires":   {7, func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.Control.Expires }, 7 * time.Second},
		"control_queue_exclusive": {false, func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.Control.Shared }, true},
		"event_queue_ttl":         {7, func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.Events.TTL }, 7 * time.Second},
		"event_queue_expires":     {7, func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.Events.Expires }, 7 * time.Second},
		"event_queue_exclusive":   {false, func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.Events.Shared }, true},
		"event_exchange":          {"ev", func(cs *fromsettings.Connections) any { return cs.Rabbit.Publisher.EventExchange }, "ev"},
		"result_persistent":       {true, func(cs *fromsettings.Connections) any { return cs.Rabbit.Results.Persistent }, true},
		"result_serializer":       {"yaml", func(cs *fromsettings.Connections) any { return cs.Rabbit.Results.Serializer }, "yaml"},
		"result_expires":          {7, func(cs *fromsettings.Connections) any { return cs.Rabbit.Results.Expires }, 7 * time.Second},
		"task_default_queue_type": {"quorum", func(cs *fromsettings.Connections) any { return cs.Rabbit.Consumer.Queues[0].Declaration.QueueType() }, "quorum"},
		"task_queue_max_priority": {5, func(cs *fromsettings.Connections) any {
			return cs.Rabbit.Publisher.Bound[0].Declaration.Arguments["x-max-priority"]
		}, int64(5)},
		"broker_transport_options": {
			map[string]any{"client_properties": map[string]any{"connection_name": "mine"}, "channel_max": 7, "frame_max": 8192, "manager_port": 9},
			func(cs *fromsettings.Connections) any {
				o := cs.Rabbit.Consumer.Connection
				return fmt.Sprint(o.Properties, o.ChannelMax, o.FrameMax, cs.Rabbit.Manager.Port)
			}, "map[connection_name:mine] 7 8192 9",
		},
	} {
		doc := map[string]any{"broker_url": "amqp://r", "result_backend": "rpc://"}
		plain, err := rabbit(t, doc)
		if err != nil {
			t.Fatal(err)
		}
		doc[setting] = c.value
		cs, err := rabbit(t, doc)
		if err != nil {
			t.Errorf("%s: %v", setting, err)
			continue
		}
		if got := c.of(&cs); got != c.want {
			t.Errorf("%s: %v, want %v", setting, got, c.want)
		}
		if setting != "broker_use_ssl" && c.of(&plain) == c.want {
			t.Errorf("%s: it is %v anyway", setting, c.want)
		}
	}
}

// Celery's 0 is no heartbeat at all, not the default.
func TestNoHeartbeat(t *testing.T) {
	t.Parallel()
	cs, err := rabbit(t, map[string]any{"broker_url": "amqp://r", "broker_heartbeat": 0})
	if err != nil {
		t.Fatal(err)
	}
	if got := cs.Rabbit.Consumer.Connection.Heartbeat; got >= 0 {
		t.Errorf("the heartbeat is %v", got)
	}
}

// What makes no connection is told before there is one, and names the setting or the part of the URL.
func TestSettingsRabbitRefuses(t *testing.T) {
	t.Parallel()
	for want, doc := range map[string]map[string]any{
		"control_queue_durable: a queue cannot be durable and exclusive": {"control_queue_durable": true},
		"event_queue_durable: a queue cannot be durable and exclusive":   {"event_queue_durable": true},
		"unexpected query parameter confirm_publish":                     {"broker_url": "amqp://u:secret@h//?confirm_publish=1"},
		"broker_read_url and broker_write_url must be of one kind":       {"broker_write_url": "redis://h"},
		"'amqp://' is not supported yet: Celery has it no more":          {"result_backend": "amqp://h"},
	} {
		if _, there := doc["broker_url"]; !there {
			doc["broker_url"] = "amqp://u:secret@h//"
		}
		_, err := rabbit(t, doc)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", doc, err)
		}
	}
	if _, err := rabbit(t, map[string]any{
		"broker_url": "amqp://h", "control_queue_durable": true, "control_queue_exclusive": false,
		"event_queue_durable": true, "event_queue_exclusive": false,
	}); err != nil {
		t.Error(err)
	}
}
