package cli

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

// permissions are the patterns of a RabbitMQ user: what it may configure, write and read.
type permissions [3]string

var kindsOfRights = permissions{"configure", "write", "read"}

// documentedPermissions returns what docs/security.md says that each user of RabbitMQ needs.
func documentedPermissions(t *testing.T) map[string]permissions {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]permissions{}
	for _, m := range regexp.MustCompile(`rabbitmqctl set_permissions -p shop (\w+) \\\s+'(.*)' \\\s+'(.*)' \\\s+'(.*)'`).FindAllStringSubmatch(string(text), -1) {
		users[m[1]] = permissions(m[2:])
	}
	return users
}

// notes are what tasks leave that are sent before the worker under test starts: a plain one, one that is retried, one that is due
// later. Beside them there is a message that nobody can read.
var notes = []string{"plain", "retried", "later"}

// leaveWork sends them.
func (g *guarded) leaveWork() {
	g.t.Helper()
	conf := settings.Default()
	conf.BrokerURL = g.all
	shop, err := app.Open(g.t.Context(), conf)
	if err != nil {
		g.t.Fatal(err)
	}
	defer shop.Close()
	for _, s := range []canvas.Signature{
		canvas.Sig("proj.note", "plain", 0), canvas.Sig("proj.note", "retried", 1), canvas.Sig("proj.note", "later", 0).Set(canvas.Countdown(4 * time.Second)),
	} {
		if _, err := shop.Send(g.t.Context(), s); err != nil {
			g.t.Fatal(err)
		}
	}
	ch := rabbittest.Channel(g.t, g.all)
	if err := ch.PublishWithContext(g.t.Context(), "", "celery", true, false, amqp.Publishing{Body: []byte("no task")}); err != nil {
		g.t.Fatal(err)
	}
	for seen := 0; seen < len(notes)+1; { // they are redelivered then, and so to be known as started
		_, ok, err := ch.Get("celery", false)
		if err != nil {
			g.t.Fatal(err)
		}
		if ok {
			seen++
		}
	}
	if err := ch.Close(); err != nil {
		g.t.Fatal(err)
	}
}

// worked tells whether all that was left has run, or is a dead letter.
func (g *guarded) worked() bool {
	for _, note := range notes {
		if _, ok := g.ran.Load(note); !ok {
			return false
		}
	}
	return g.rabbit.Queues(g.t)["apium.dlq"].Ready == 1
}

func (g *guarded) awaitWork(ctx context.Context) bool {
	for !g.worked() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

// permitted lets a role do its work as a user with these permissions. Then somebody who may do all does what is left.
func (g *guarded) permitted(role string, p permissions) {
	g.t.Helper()
	g.all = g.rabbit.URL()
	url := g.rabbit.User(g.t, role, p[0], p[1], p[2])
	refused := func() bool { return strings.Contains(g.said.String(), "refused for user") }
	g.attempt(refused, 5*time.Second, func() {
		switch role {
		case "worker":
			g.leaveWork()
		case "operator": // there is a dead letter
			g.leaveWork()
			stop := g.startWorker()
			if !g.awaitWork(g.ctx) {
				g.t.Fatal("the work is not done")
			}
			stop()
		}
		roles[role](g, url)
	})
	if role != "worker" || g.worked() {
		return
	}
	defer g.startWorker()()
	left, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	if !g.awaitWork(left) {
		g.t.Errorf("something is lost; queues: %v; said was\n%s", g.rabbit.Queues(g.t), g.said.String())
	}
}

// alternatives are the names that a pattern matches.
func alternatives(pattern string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(pattern, "^("), ")$"), "|")
}

// The permissions in the documentation are enough for all that a role does, on RabbitMQ. Without one of them it does without, or what
// it says names what is refused; nothing waits for ever, and nothing is lost.
func TestDocumentedPermissions(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	users := documentedPermissions(t)
	for role := range roles {
		documented, ok := users[role]
		if !ok {
			t.Errorf("docs/security.md has no %s for RabbitMQ", role)
			continue
		}
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			g := &guarded{t: t, rabbit: server.VHost(t)}
			g.permitted(role, documented)
			if said := g.said.String(); g.failed.Load() || strings.Contains(said, "refused for user") {
				t.Error(said)
			}
		})
		for kind, pattern := range documented {
			without := map[string]string{}
			if *allRights || role == "worker" {
				without["all"] = "^$"
			}
			if *allRights {
				for _, name := range alternatives(pattern) {
					rest := slices.DeleteFunc(alternatives(pattern), func(other string) bool { return other == name })
					without[name] = "^(" + strings.Join(rest, "|") + ")$"
				}
			}
			for name, rest := range without {
				t.Run(role+" without "+kindsOfRights[kind]+" "+name, func(t *testing.T) {
					t.Parallel()
					g, less := &guarded{t: t, rabbit: server.VHost(t)}, documented
					less[kind] = rest
					g.permitted(role, less)
					switch said := g.said.String(); {
					case g.failed.Load() && !strings.Contains(said, "refused for user"):
						t.Errorf("it does not say what is refused:\n%s", said)
					case !g.failed.Load() && !strings.Contains(said, "refused for user"):
						if role != "producer" { // what it warns of goes to the program's log
							t.Error("it is not needed, or missed without a word")
						}
					case !g.failed.Load():
						t.Logf("it does without:\n%s", said)
					}
				})
			}
		}
	}
}
