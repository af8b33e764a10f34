package cli

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/app"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/internal/doctor"
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

// What is known of the rights that each role needs is what the documentation gives it: a user that lacks one of them is found to lack
// just that, and nothing has happened.
func TestForbiddenOnRabbitMQ(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	home := server.VHost(t)
	ch := rabbittest.Channel(t, home.URL())
	for _, queue := range []string{"celery", "apium.dlq"} {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.PublishWithContext(t.Context(), "", "celery", true, false, amqp.Publishing{Body: []byte("stays")}); err != nil {
		t.Fatal(err)
	}
	before := home.Queues(t)
	cfg := amqpbroker.PublisherConfig{Bound: []broker.Queue{{Name: "celery"}}}
	lacking := func(name string, p permissions, needs []amqpbroker.Need) (lacks []string) {
		m, err := amqpbroker.OpenManagement(t.Context(), amqpbroker.ManagementConfig{URL: home.User(t, name, p[0], p[1], p[2])})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		forbidden, err := m.Forbidden(t.Context(), needs)
		if err != nil {
			t.Fatal(err)
		}
		return needed(forbidden)
	}
	for role, documented := range documentedPermissions(t) {
		needs := cfg.Needs(role, true)
		if role == "apium" || role == "monitor" {
			continue
		}
		if lacks := lacking(role, documented, needs); len(lacks) > 0 {
			t.Errorf("a %s as documented lacks %q", role, lacks)
		}
		if lacks := lacking("nobody"+role, permissions{"^$", "^$", "^$"}, needs); !slices.Equal(lacks, needed(needs)) {
			t.Errorf("a %s without rights lacks %q", role, lacks)
		}
		for kind, pattern := range documented {
			for i, name := range alternatives(pattern) {
				less, gone := documented, regexp.MustCompile("^("+name+")$")
				less[kind] = "^(" + strings.Join(slices.Delete(alternatives(pattern), i, i+1), "|") + ")$"
				want := needed(slices.DeleteFunc(slices.Clone(needs), func(n amqpbroker.Need) bool { return int(n.Right) != kind || !gone.MatchString(n.Name) }))
				lacks := lacking(fmt.Sprint(role, kind, i), less, needs)
				if len(want) == 0 || !slices.Equal(lacks, want) {
					t.Errorf("a %s that may not %s %s lacks %q, not %q", role, kindsOfRights[kind], name, lacks, want)
				}
			}
		}
	}
	if after := home.Queues(t); !reflect.DeepEqual(after, before) || len(home.Bindings(t)) > 0 {
		t.Errorf("there is %v, bound %v; there was %v", after, home.Bindings(t), before)
	}
	if message, ok, err := ch.Get("celery", true); err != nil || !ok || message.Redelivered {
		t.Errorf("the message is there: %v, redelivered %v, %v", ok, message.Redelivered, err)
	}
}

// TestDoctorKnowsRightsOnRabbitMQ has the doctor look at users of RabbitMQ, and at one of the Redis where their results are.
func TestDoctorKnowsRightsOnRabbitMQ(t *testing.T) {
	t.Parallel()
	server, users := rabbittest.Start(t), documentedPermissions(t)
	unburied, stored := users["worker"], newIll(t, safe).as("stored", "~*", "&*", "+@all", "-setex")
	unburied[0] = strings.Replace(unburied[0], `|apium\.dlq`, "", 1)
	type finding struct{ severity, says string }
	var examinations sync.WaitGroup
	for name, test := range map[string]struct {
		permissions permissions
		results     string
		want        []finding
	}{
		"all":      {permissions{".*", ".*", ".*"}, "rpc://", nil},
		"nobody":   {permissions{"^$", "^$", "^$"}, "rpc://", []finding{{"error", "lacks rights that a worker needs"}, {"error", "write amq.default; read celery"}}},
		"unburied": {unburied, "rpc://", []finding{{"warning", "without configure apium.dlq: nobody can read"}, {"warning", "rabbitmqctl set_permissions -p "}}},
		"worker": {users["worker"], "rpc://", []finding{
			{"note", "has the rights of: worker, producer, operator. More is needed for: beat"}, {"note", "a beat: configure apium.beat.schedule.celery"},
		}},
		"producer": {users["producer"], "rpc://", []finding{{"warning", "not for workers it matters little: it has all rights of: producer."}}},
		"results":  {permissions{".*", ".*", ".*"}, stored.url, []finding{{"note", "The user stored has the rights of"}, {"note", "a worker: +setex"}}},
	} {
		v := server.VHost(t)
		if _, err := rabbittest.Channel(t, v.URL()).QueueDeclare("celery", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		i := &ill{T: t, url: v.User(t, name, test.permissions[0], test.permissions[1], test.permissions[2]), args: []string{"--result-backend", test.results}}
		examinations.Go(func() {
			e := i.examine()
			found := named(e.report, "rights")
			ok := e.err == nil && (len(found) == 1) == (len(test.want) > 0)
			for _, want := range test.want {
				ok = ok && string(found[0].Severity) == want.severity && strings.Contains(fmt.Sprint(found[0]), want.says)
			}
			if !ok || slices.ContainsFunc(e.report.Unseen, func(u doctor.Unseen) bool { return u.What == "rights" }) {
				t.Errorf("%s: %v, %+v\nnot looked at: %+v", name, e.err, found, e.report.Unseen)
			}
		})
	}
	examinations.Wait()
}

func needed(needs []amqpbroker.Need) (all []string) {
	for _, n := range needs {
		all = append(all, n.Right.String()+" "+n.Name)
	}
	return all
}
