package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/redisconn"
)

// roles are what a Redis user may be for, as docs/security.md has them; who can do the first can do all that matters here.
var roles = []string{"worker", "producer", "beat", "operator"}

// rights are what a user lacks, by role.
type rights struct {
	user   string
	lacks  map[string][]string // what nothing goes on without; a role that is not there lacks nothing
	misses map[string][]string // what something does not work without, and what
	give   string              // how it is given
}

// askRights finds out what the users of these settings may not do, without doing it.
func (f *facts) askRights(ctx context.Context, m broker.Management) error {
	messages, results, err := f.Places.RedisServers()
	if err != nil {
		return err
	}
	if f.resultsErr != nil {
		results = nil
	}
	if rabbit, ok := m.(*amqpbroker.Management); ok {
		err = f.askRabbitRights(ctx, rabbit)
	}
	if messages != nil || results != nil {
		err = errors.Join(err, f.askRedisRights(ctx, messages, results))
	}
	return err
}

// askRedisRights is about the Redis of messages, of results, or of both.
func (f *facts) askRedisRights(ctx context.Context, messages, results *redisconn.Config) error {
	user := f.Places.Backend.Username
	var of redisbroker.Rights
	if messages != nil {
		user = f.Places.Broker.Username
		of = redisbroker.Rights{DB: messages.DB(), Control: f.Settings.ControlExchange, Events: f.Settings.EventExchange}
	}
	for _, q := range f.Settings.Queues().All() {
		exchange, _ := q.Binding()
		of.Queues, of.Exchanges = append(of.Queues, q.Name), append(of.Exchanges, exchange)
	}
	r := rights{user: cmp.Or(user, "default"), lacks: map[string][]string{}}
	r.give = "ACL SETUSER " + r.user + " with what is missing"
	for _, role := range roles {
		var lacks, more []string
		var err error
		if messages != nil {
			lacks, err = forbidden(ctx, messages, f.Places.Redis.Consumer.Uses(role, &of))
		}
		if err == nil && results != nil {
			more, err = forbidden(ctx, results, f.Places.Redis.Results.Uses(role))
			lacks = append(lacks, more...)
		}
		if errors.Is(err, errors.ErrUnsupported) {
			return errors.New("before version 7 Redis does not tell what a user may do")
		}
		if err != nil {
			return err
		}
		if len(lacks) > 0 {
			slices.Sort(lacks)
			r.lacks[role] = []string{strings.Join(slices.Compact(lacks), " ")}
		}
	}
	f.rights = append(f.rights, r)
	return nil
}

// askRabbitRights is about the virtual host of a RabbitMQ.
func (f *facts) askRabbitRights(ctx context.Context, m *amqpbroker.Management) error {
	at := f.Places.Written
	r := rights{user: at.Username, lacks: map[string][]string{}, misses: map[string][]string{}}
	r.give = fmt.Sprintf("rabbitmqctl set_permissions -p %s %s with three patterns that match these names, too", at.VHost, r.user)
	for _, role := range roles {
		lacks, err := m.Forbidden(ctx, f.Places.RabbitNeeds(role))
		if err != nil {
			return err
		}
		var reasons []string
		without := map[string][]amqpbroker.Need{}
		for _, n := range lacks {
			if without[n.Without] == nil {
				reasons = append(reasons, n.Without)
			}
			without[n.Without] = append(without[n.Without], n)
		}
		for _, reason := range reasons {
			if reason == "" {
				r.lacks[role] = append(r.lacks[role], named(without[reason]))
			} else {
				r.misses[role] = append(r.misses[role], "without "+named(without[reason])+": "+reason)
			}
		}
	}
	f.rights = append(f.rights, r)
	return nil
}

// named are rights in words: configure a, b; read b.
func named(needs []amqpbroker.Need) string {
	var parts []string
	for _, right := range []amqpbroker.Right{amqpbroker.Configure, amqpbroker.Write, amqpbroker.Read} {
		var names []string
		for _, n := range needs {
			if n.Right == right && !slices.Contains(names, n.Shown()) {
				names = append(names, n.Shown())
			}
		}
		if names != nil {
			parts = append(parts, right.String()+" "+strings.Join(names, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// forbidden are the rights that a user of Redis lacks, as ACL SETUSER takes them.
func forbidden(ctx context.Context, server *redisconn.Config, uses [][]string) (lacks []string, err error) {
	if len(uses) == 0 {
		return nil, nil
	}
	conn, err := server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	lacks, err = redisconn.Forbidden(ctx, conn, uses)
	for i := range lacks {
		lacks[i] = strings.ReplaceAll(lacks[i], "\x06\x16", `\x06\x16`)
	}
	return lacks, err
}

func missingRights(f *facts) (found []Finding) {
	for _, r := range f.rights {
		var can, cannot, details []string
		for _, role := range roles {
			if r.lacks[role] == nil {
				can = append(can, role)
				continue
			}
			cannot = append(cannot, role)
			details = append(details, fmt.Sprintf("a %s: %s", role, strings.Join(r.lacks[role], " ")))
		}
		finding := Finding{Advice: r.give + "; docs/security.md has a user for each role."}
		switch {
		case can == nil:
			finding.Severity, finding.Title = Error, fmt.Sprintf("The user %s lacks rights that a worker needs", r.user)
			finding.Details = slices.Concat(r.lacks["worker"], r.misses["worker"])
			finding.Meaning = "Whatever needs them fails, and is tried again and again: nothing is lost, but it does not go on."
		case r.lacks["worker"] == nil && r.misses["worker"] != nil:
			finding.Severity, finding.Title = Warning, fmt.Sprintf("The user %s lacks rights for some of what a worker does", r.user)
			finding.Details = r.misses["worker"]
			finding.Meaning = "A worker starts, says so in its log, and goes on without."
			if whole := slices.DeleteFunc(can, func(role string) bool { return r.misses[role] != nil }); len(whole) > 0 {
				finding.Meaning += " To a user that is not for workers it matters little: it has all rights of: " + strings.Join(whole, ", ") + "."
			}
		case cannot != nil:
			finding.Severity, finding.Title = Note, fmt.Sprintf("The user %s has the rights of: %s. More is needed for: %s", r.user, strings.Join(can, ", "), strings.Join(cannot, ", "))
			finding.Details, finding.Advice = details, ""
		default:
			continue
		}
		found = append(found, finding)
	}
	return found
}
