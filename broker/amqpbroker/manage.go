package amqpbroker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/settings/connection"
)

// ManagementConfig says whom to ask about queues.
type ManagementConfig struct {
	URL        string // as that of Config
	Connection connection.AMQP
	Manager    connection.Manager // of the management plugin, which need not be there
}

// Management looks at queues and empties them. What AMQP does not tell, it asks the management plugin for; where that
// does not answer, only queues that are named are known, and no bindings.
type Management struct {
	holder  *rabbitconn.Holder
	manager *rabbitconn.Manager
	figures broker.Figures
}

var _ broker.Management = (*Management)(nil)

// OpenManagement connects. It fails if RabbitMQ cannot be reached now.
func OpenManagement(ctx context.Context, cfg ManagementConfig) (*Management, error) {
	rabbit, err := rabbitconn.Parse(cfg.URL, cfg.Connection)
	if err != nil {
		return nil, fmt.Errorf("amqpbroker: %w", err)
	}
	holder, err := rabbitconn.Hold(ctx, rabbit, rabbitconn.Holding{MaxRetries: -1})
	if err != nil {
		return nil, fmt.Errorf("amqpbroker: %w", err)
	}
	return &Management{holder: holder, manager: rabbit.Manager(cfg.Manager), figures: broker.Figures{Consumers: true}}, nil
}

// Close ends the connection. It never fails.
func (m *Management) Close() error {
	_ = m.holder.Close(time.Now().Add(farewell)) // everything was answered
	return nil
}

// Steps implements [broker.Management]: a queue has one figure for all priorities.
func (m *Management) Steps() []int { return nil }

// Figures implements [broker.Management]. How many messages workers hold only the plugin tells: ask for it after
// Queues.
func (m *Management) Figures() broker.Figures { return m.figures }

// ask does something on a channel of its own: an error ends the channel.
func (m *Management) ask(ctx context.Context, do func(*amqp.Channel) error) error {
	conn, err := m.holder.Get(ctx)
	if err != nil {
		return err
	}
	return conn.Aside(do)
}

// isMissing tells whether the broker says that there is no such queue, or none that others may look at.
func isMissing(err error) bool {
	return rabbitconn.Code(err) == amqp.NotFound || rabbitconn.Code(err) == amqp.ResourceLocked
}

// Purge implements [broker.Management]. A queue that there is not has no messages, as for Celery.
func (m *Management) Purge(ctx context.Context, queue string) (n int, err error) {
	err = m.ask(ctx, func(ch *amqp.Channel) error {
		n, err = ch.QueuePurge(queue, false)
		return err
	})
	if err != nil && !isMissing(err) {
		return 0, fmt.Errorf("purge queue %q: %s", queue, rabbitconn.Describe(err))
	}
	return n, nil
}

// Queues implements [broker.Management].
func (m *Management) Queues(ctx context.Context, named, ignore []string) ([]broker.QueueState, error) {
	states, err := m.listed(ctx, named, ignore)
	if m.figures.Unacked = err == nil; err == nil {
		return states, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(named))) {
		state := broker.QueueState{Name: name, Ready: []int{0}}
		err := m.ask(ctx, func(ch *amqp.Channel) error {
			q, err := ch.QueueDeclarePassive(name, false, false, false, false, nil)
			state.Ready[0], state.Consumers = q.Messages, q.Consumers
			return err
		})
		if err != nil && !isMissing(err) {
			return nil, fmt.Errorf("queue %q: %s", name, rabbitconn.Describe(err))
		}
		states = append(states, state)
	}
	return states, nil
}

// listed is Queues by the management plugin: those that are named, and all others that outlive who made them.
func (m *Management) listed(ctx context.Context, named, ignore []string) ([]broker.QueueState, error) {
	var queues []struct {
		Name       string `json:"name"`
		Type       string `json:"type"`
		Ready      int    `json:"messages_ready"`
		Unacked    int    `json:"messages_unacknowledged"`
		Consumers  int    `json:"consumers"`
		AutoDelete bool   `json:"auto_delete"`
		Exclusive  bool   `json:"exclusive"`
	}
	if err := m.manager.Get(ctx, "queues", nil, &queues); err != nil {
		return nil, err
	}
	bindings, err := m.table(ctx)
	if err != nil {
		return nil, err
	}
	ignored := map[string]bool{}
	for _, b := range bindings {
		if slices.Contains(ignore, b.Source) || strings.HasSuffix(b.Source, ".pidbox") {
			ignored[b.Queue] = true
		}
	}
	states := map[string]broker.QueueState{}
	for _, name := range named {
		states[name] = broker.QueueState{Name: name, Ready: []int{0}}
	}
	for _, q := range queues {
		_, wanted := states[q.Name]
		if wanted || !q.AutoDelete && !q.Exclusive && !ignored[q.Name] && (q.Ready > 0 || !strings.HasPrefix(q.Name, "celery_delayed_")) {
			states[q.Name] = broker.QueueState{Name: q.Name, Type: q.Type, Ready: []int{q.Ready}, Unacked: q.Unacked, Consumers: q.Consumers}
		}
	}
	all := make([]broker.QueueState, 0, len(states))
	for _, name := range slices.Sorted(maps.Keys(states)) {
		all = append(all, states[name])
	}
	return all, nil
}

// route is a binding of a queue as the management plugin tells it.
type route struct {
	Source     string `json:"source"`
	Queue      string `json:"destination"`
	Kind       string `json:"destination_type"`
	RoutingKey string `json:"routing_key"`
}

// table is all bindings of queues, but for those that every queue has.
func (m *Management) table(ctx context.Context) ([]route, error) {
	var all []route
	if err := m.manager.Get(ctx, "bindings", nil, &all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r route) bool { return r.Source == "" || r.Kind != "queue" }), nil
}

// told is table, or why it is not known.
func (m *Management) told(ctx context.Context) ([]route, error) {
	all, err := m.table(ctx)
	if err != nil {
		return nil, fmt.Errorf("bindings are told by RabbitMQ's management plugin only, and that cannot be asked at %s: %w. "+
			"Enable it with rabbitmq-plugins enable rabbitmq_management, or see manager_hostname, manager_port, manager_userid and "+
			"manager_password of broker_transport_options", m.manager, err)
	}
	return all, nil
}

// Bindings implements [broker.Management].
func (m *Management) Bindings(ctx context.Context, exchange string) ([]broker.Binding, error) {
	all, err := m.told(ctx)
	if err != nil {
		return nil, err
	}
	var bindings []broker.Binding
	for _, r := range all {
		if r.Source == exchange {
			bindings = append(bindings, broker.Binding{Queue: r.Queue, RoutingKey: r.RoutingKey})
		}
	}
	slices.SortFunc(bindings, func(a, b broker.Binding) int {
		return cmp.Or(strings.Compare(a.Queue, b.Queue), strings.Compare(a.RoutingKey, b.RoutingKey))
	})
	return bindings, nil
}

// Exchanges implements [broker.Management].
func (m *Management) Exchanges(ctx context.Context) ([]string, error) {
	all, err := m.told(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, r := range all {
		names[r.Source] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// ServerVersion is what the server says of itself: 3.10.8.
func (m *Management) ServerVersion(ctx context.Context) (string, error) {
	conn, err := m.holder.Get(ctx)
	if err != nil {
		return "", err
	}
	version, _ := conn.Properties["version"].(string)
	return version, nil
}
