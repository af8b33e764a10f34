package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/redisconn"
)

// roles are what a Redis user may be for, as docs/security.md has them; who can do the first can do all that matters here.
var roles = []string{"worker", "producer", "beat", "operator"}

// rights are what a user lacks.
type rights struct {
	user  string
	lacks map[string][]string // by role; one that is not there lacks nothing
	known bool
}

// askRights finds out what the user of these settings may not do, without doing it.
func (f *facts) askRights(ctx context.Context) error {
	f.rights = rights{user: cmp.Or(f.Places.Broker.Username, "default"), lacks: map[string][]string{}}
	messages, results, err := f.Places.RedisServers()
	if err != nil || messages == nil {
		return err
	}
	of := redisbroker.Rights{DB: messages.DB(), Control: f.Settings.ControlExchange, Events: f.Settings.EventExchange}
	for _, q := range f.Settings.Queues().All() {
		exchange, _ := q.Binding()
		of.Queues, of.Exchanges = append(of.Queues, q.Name), append(of.Exchanges, exchange)
	}
	for _, role := range roles {
		lacks, err := forbidden(ctx, messages, f.Places.Redis.Consumer.Uses(role, &of))
		if err == nil && results != nil && f.resultsErr == nil {
			var more []string
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
			f.rights.lacks[role] = slices.Compact(lacks)
		}
	}
	f.rights.known = true
	return nil
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

func missingRights(f *facts) []Finding {
	lacks := f.rights.lacks["worker"]
	if !f.rights.known || len(lacks) == 0 {
		return nil
	}
	finding := Finding{
		Severity: Error, Title: fmt.Sprintf("The user %s lacks rights that a worker needs", f.rights.user), Details: []string{strings.Join(lacks, " ")},
		Meaning: "Whatever needs them fails, and is tried again and again: nothing is lost, but it does not go on.",
		Advice:  "ACL SETUSER " + f.rights.user + " with what is missing; docs/security.md has a user for each role.",
	}
	var can []string
	for _, role := range roles {
		if len(f.rights.lacks[role]) == 0 {
			can = append(can, role)
		}
	}
	if can != nil {
		finding.Severity, finding.Title = Note, fmt.Sprintf("The user %s has the rights of: %s. A worker needs more", f.rights.user, strings.Join(can, ", "))
		finding.Meaning, finding.Advice = "", ""
	}
	return []Finding{finding}
}
