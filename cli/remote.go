package cli

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/operate/gossip"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
	"github.com/apium/apium/worker"
)

// listenTimeout is how long a worker waits at its start until it hears remote control. It
// starts without.
const listenTimeout = 5 * time.Second

// startControl has a worker answer to remote control until ctx is done; shutdown is what
// the command of that name does. The returned function waits for the end.
func (p *program) startControl(
	ctx context.Context, shutdown func(), s *workerSettings, w *worker.Worker,
	publisher control.Broker, dispatcher *events.Dispatcher, node *gossip.Node,
) (wait func(), err error) {
	if !s.conf.WorkerEnableRemoteControl {
		return func() {}, nil
	}
	server, err := s.Consumer.Server() // of several, the one in use
	if err != nil {
		return nil, err
	}
	queues := s.conf.Queues()
	cfg := control.Config{
		Worker: w, Broker: publisher, Commands: p.reg, Exchange: s.conf.ControlExchange, Shutdown: shutdown,
		Settings: s.effective, BrokerInfo: brokerInfo(server, s.conf), Version: version(), Logger: s.log,
		Queue: func(name string) (broker.Queue, bool) {
			for _, q := range queues.All() {
				if q.Name == name || q.Alias == name {
					return q, true
				}
			}
			return broker.Queue{}, false
		},
	}
	if s.sendsEvents() {
		cfg.Events = dispatcher
	}
	if node != nil {
		cfg.Gossip = node
	}
	mailbox, err := control.New(cfg)
	if err != nil {
		return nil, err
	}
	wait = beside(func() {
		if err := mailbox.Run(ctx); err != nil {
			s.log.Error(err.Error(), logline.EventKey, "Remote control failed", "error", err)
		}
	})
	select {
	case <-mailbox.Listening():
	case <-time.After(listenTimeout):
		s.log.Warn("Remote control cannot be heard yet")
	case <-ctx.Done():
	}
	return wait, nil
}

// effective are the settings that remote control shows: those given, and what the command
// line says about broker and results, as in Celery.
func (s *workerSettings) effective(withDefaults bool) map[string]any {
	table := effective(s.conf, &s.Connections, withDefaults)
	// What a Python worker's table has besides what anybody has set.
	table["deprecated_settings"] = nil
	include, _ := table["include"].([]any)
	table["include"] = append(slices.Clone(include), "celery.app.builtins")
	return table
}

func effective(conf *settings.Settings, cs *fromsettings.Connections, withDefaults bool) map[string]any {
	table := conf.Table(withDefaults)
	table["broker_url"] = cs.BrokerURL
	if cs.BackendURL != "" {
		table["result_backend"] = cs.BackendURL
	}
	return table
}

// brokerInfo tells of the connection as kombu does (kombu/connection.py: Connection.info).
func brokerInfo(server connection.Server, conf *settings.Settings) map[string]any {
	info := map[string]any{
		"hostname": server.Host, "userid": nil, "virtual_host": strconv.Itoa(server.DB), "port": server.Port,
		"insist": false, "ssl": server.TLS, "transport": strings.TrimSuffix(server.Scheme, "+socket"),
		"connect_timeout": cmp.Or(conf.BrokerConnectionTimeout, 4*time.Second).Seconds(), "transport_options": map[string]any{},
		"login_method": nil, "uri_prefix": nil, "heartbeat": 120.0, "failover_strategy": conf.BrokerFailoverStrategy,
		"alternates": append([]string{}, server.Others...), "credential_provider": nil,
	}
	if server.Username != "" {
		info["userid"] = server.Username
	}
	if conf.BrokerFailoverStrategy == "" {
		info["failover_strategy"] = "round-robin"
	}
	return info
}
