package app

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// listenTimeout is how long a worker waits at its start until it hears remote control. It
// starts without.
const listenTimeout = 5 * time.Second

// startControl has a worker answer to remote control until ctx is done; shutdown is what
// the command of that name does. The returned function waits for the end.
func (s *service) startControl(ctx context.Context, shutdown func()) (wait func(), err error) {
	if !s.conf.WorkerEnableRemoteControl {
		return func() {}, nil
	}
	server, err := s.places.Server() // of several, the one in use
	if err != nil {
		return nil, err
	}
	queues := s.conf.Queues()
	cfg := control.Config{
		Worker: s.runner, Broker: s.publisher, Commands: s.reg, Exchange: s.conf.ControlExchange, Shutdown: shutdown,
		Settings: s.effective, BrokerInfo: brokerInfo(server, s.conf), Version: build.Version(), Logger: s.log,
		MaxConcurrency: s.conf.MaxConcurrency,
		Queue: func(name string) (broker.Queue, bool) {
			for _, q := range queues.All() {
				if q.Name == name || q.Alias == name {
					return q, true
				}
			}
			return broker.Queue{}, false
		},
	}
	if s.opts.Python != nil {
		cfg.Python = func() (map[string]string, string) {
			manifest := s.opts.Python.Manifest()
			return manifest.Software, manifest.Loader
		}
	}
	if s.sendsEvents() {
		cfg.Events = s.dispatcher
	}
	if s.node != nil {
		cfg.Gossip = s.node
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
func (w *Worker) effective(withDefaults bool) map[string]any {
	shown := w.opts.Shown
	if shown == nil {
		shown = w.conf.Table
	}
	table := w.places.Shown(shown(withDefaults))
	// What a Python worker's table has besides what anybody has set.
	table["deprecated_settings"] = nil
	include, _ := table["include"].([]any)
	table["include"] = append(slices.Clone(include), "celery.app.builtins")
	return table
}

// brokerInfo tells of the connection as kombu does (kombu/connection.py: Connection.info).
func brokerInfo(server connection.Server, conf *settings.Settings) map[string]any {
	info := map[string]any{
		"hostname": server.Host, "userid": nil, "virtual_host": strconv.Itoa(server.DB), "port": server.Port,
		"insist": false, "ssl": server.TLS, "transport": strings.TrimSuffix(server.Scheme, "+socket"),
		"connect_timeout": cmp.Or(conf.BrokerConnectionTimeout, 4*time.Second).Seconds(), "transport_options": map[string]any{},
		"login_method": nil, "uri_prefix": nil, "heartbeat": conf.BrokerHeartbeat.Seconds(), "failover_strategy": conf.BrokerFailoverStrategy,
		"alternates": append([]string{}, server.Others...), "credential_provider": nil,
	}
	if server.Username != "" {
		info["userid"] = server.Username
	}
	if server.VHost != "" {
		info["virtual_host"], info["login_method"] = server.VHost, cmp.Or(conf.BrokerLoginMethod, "PLAIN")
	}
	if conf.BrokerFailoverStrategy == "" {
		info["failover_strategy"] = "round-robin"
	}
	return info
}
