package cli

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// guarded is a Redis with users, and what runs there: everybody but the role under test may do all.
type guarded struct {
	t      *testing.T
	server *redistest.Server
	rabbit *rabbittest.VHost // in place of it
	all    string            // the URL of who may do all
	ctx    context.Context   // of what the role does
	said   buffer            // what the role's programs said, and what went wrong
	failed atomic.Bool
	ran    sync.Map // notes of tasks that have run to their end
}

// results is where the results of who uses a broker are.
func (g *guarded) results(url string) string {
	if g.rabbit != nil {
		return "rpc://"
	}
	return url
}

// roles are what programs do, each with a user of its own.
var roles = map[string]func(g *guarded, url string){
	"worker": func(g *guarded, url string) {
		defer g.start(&g.said, "worker", "-linfo", "-E", "-n", "w@h", "-b", url, "--result-backend", g.results(url), "--park-after", "0.1")()
		if g.hear("ready.") {
			g.produce(g.all)
			g.operate(g.all)
			if g.rabbit != nil {
				g.awaitWork(g.ctx)
			}
		}
	},
	"producer": func(g *guarded, url string) {
		defer g.startWorker()()
		g.produce(url)
	},
	"beat": func(g *guarded, url string) {
		config := filepath.Join(g.t.TempDir(), "beat.json")
		if err := os.WriteFile(config, []byte(`{"beat_schedule": {"often": {"task": "proj.add", "schedule": 1, "args": [1, 2]}}}`), 0o600); err != nil {
			g.t.Fatal(err)
		}
		defer g.start(&g.said, "beat", "-linfo", "--config", config, "-b", url)()
		if g.hear("Sending due task often") {
			g.call("beat list --config "+config, url)
			g.call("beat run often --config "+config, url)
		}
	},
	"operator": func(g *guarded, url string) {
		defer g.startWorker()()
		g.operate(url)
	},
	"monitor": func(g *guarded, url string) {
		defer g.startWorker()()
		defer g.start(&g.said, "events", "--json", "-b", url)()
		g.hear(`"worker-heartbeat"`)
	},
}

// wrong notes that something does not work.
func (g *guarded) wrong(format string, args ...any) {
	g.failed.Store(true)
	fmt.Fprintf(&g.said, format+"\n", args...)
}

// hear waits until the role says something, or is to give up.
func (g *guarded) hear(text string) bool {
	for !strings.Contains(g.said.String(), text) {
		select {
		case <-g.ctx.Done():
			g.wrong("never said: %s", text)
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// start runs a program until stop is called.
func (g *guarded) start(log *buffer, args ...string) (stop func()) {
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, g.registry(), append([]string{"apium"}, args...), log, log) }()
	return func() {
		cancel()
		if status := <-ended; status != exitOK {
			g.wrong("%v ended with %d:\n%s", args, status, log.String())
		}
	}
}

// startWorker starts a worker that may do all.
func (g *guarded) startWorker() (stop func()) {
	g.t.Helper()
	var log buffer
	stop = g.start(&log, "worker", "-linfo", "-E", "-n", "w@h", "-b", g.all, "--result-backend", g.results(g.all))
	log.waitFor(g.t, "ready.")
	return stop
}

func (g *guarded) registry() *tasks.Registry {
	reg := testRegistry()
	reg.Register("proj.note", func(ctx context.Context, note string, retries int) error {
		if tasks.Current(ctx).Retries < retries {
			return tasks.Retry(nil, tasks.RetryCountdown(0))
		}
		g.ran.Store(note, true)
		return nil
	}, tasks.Params("note, retries"), tasks.AcksLate(true))
	reg.Register("proj.sum", func(numbers []float64) (sum float64) {
		for _, n := range numbers {
			sum += n
		}
		return sum
	}, tasks.Params("numbers"), tasks.AcksLate(true))
	return reg
}

// call runs a command, which must do what it is to do.
func (g *guarded) call(line, url string) {
	args := append([]string{"apium"}, strings.Fields(line)...)
	if args = append(args, "-b", url); args[1] != "beat" {
		args = append(args, "--result-backend", g.results(url))
	}
	var out, errs buffer
	if status := run(g.ctx, g.registry(), args, &out, &errs); status != exitOK {
		g.wrong("%s: status %d\n%s%s", line, status, out.String(), errs.String())
	}
}

// produce sends tasks, and waits for results.
func (g *guarded) produce(url string) {
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = url, g.results(url)
	shop, err := app.Open(g.ctx, conf)
	if err != nil {
		g.wrong("open: %v", err)
		return
	}
	defer shop.Close()
	add := canvas.Sig("proj.add", 1, 2)
	work := canvas.Chord([]canvas.Signature{add, add.Set(canvas.Priority(9))}, canvas.Sig("proj.sum"))
	if g.rabbit != nil { // where there are no chords
		work = canvas.Chain(add, canvas.Sig("proj.add", 3))
	}
	result, err := shop.Send(g.ctx, work)
	if err != nil {
		g.wrong("send: %v", err)
		return
	}
	var sum float64
	if err := result.Get(g.ctx, &sum); err != nil || sum != 6 {
		g.wrong("chord: %v, %v", sum, err)
	}
	g.call("send proj.add 1 2 -w --countdown 1", url)
	if g.rabbit == nil {
		g.call("result "+result.ID, url)
	}
}

// operate asks and changes.
func (g *guarded) operate(url string) {
	lines := []string{
		"status -d w@h", "inspect stats -d w@h", "control rate_limit proj.add 5/s -d w@h", "control revoke some-id -d w@h",
		"list queues", "dlq list", "purge -f",
	}
	if g.rabbit == nil {
		lines = append(lines, "list bindings --all")
	} else {
		lines = append(lines, "dlq replay --all")
	}
	for _, line := range lines {
		g.call(line, url)
	}
}

// documentedRights returns what docs/security.md says that each user needs.
func documentedRights(t *testing.T) map[string][]any {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	users := map[string][]any{}
	for _, part := range strings.Split(string(text), "\n    ACL SETUSER ")[1:] {
		words, _, _ := strings.Cut(part, "\n\n")
		var rights []any
		for _, word := range strings.Fields(words) {
			rights = append(rights, word)
		}
		users[rights[0].(string)] = rights[1:]
	}
	return users
}

// as lets a role do its work as a user with these rights, until it is denied something that it needs. It returns what
// was denied: commands, keys and channels.
func (g *guarded) as(name string, rights []any, needs bool) (denied []string) {
	g.t.Helper()
	g.server.Do(g.t, "ACL", "SETUSER", "all", "on", ">secret", "+@all", "~*", "&*")
	g.server.Do(g.t, "ACL", append([]any{"SETUSER", name}, rights...)...)
	g.all = "redis://all:secret@" + g.server.Addr() + "/0"
	var since time.Time // when it was denied something
	refused := func() bool {
		denied := g.denied(name)
		if !needs || len(denied) == 0 {
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		return g.named(denied) || time.Since(since) > 20*time.Second // it may be slow to say so
	}
	g.attempt(refused, 2*time.Second, func() { roles[name](g, "redis://"+name+":secret@"+g.server.Addr()+"/0") })
	return g.denied(name)
}

// attempt lets a role do its work. Once it is refused something, it has some time to show whether it can do without.
func (g *guarded) attempt(refused func() bool, without time.Duration, work func()) {
	g.t.Helper()
	var cancel context.CancelFunc
	g.ctx, cancel = context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for !refused() {
			select {
			case <-ended:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		select {
		case <-ended:
		case <-time.After(without):
			cancel()
		}
	})
	work()
	close(ended)
	watching.Wait()
}

// named tells whether something that was denied is said, and how to allow it.
func (g *guarded) named(denied []string) bool {
	said := g.said.String()
	return strings.Contains(said, "ACL SETUSER <user>") && slices.ContainsFunc(denied, func(object string) bool {
		return strings.Contains(strings.ToLower(said), strings.ToLower(strings.Trim(fmt.Sprintf("%q", object), `"`)))
	})
}

func (g *guarded) denied(user string) (objects []string) {
	g.t.Helper()
	entries, _ := g.server.Do(g.t, "ACL", "LOG").([]any)
	for _, entry := range entries {
		fields, _ := entry.([]any)
		about := map[string]string{}
		for i := 0; i+1 < len(fields); i += 2 {
			about[fmt.Sprintf("%s", fields[i])] = fmt.Sprintf("%s", fields[i+1])
		}
		if about["username"] == user {
			objects = append(objects, about["object"])
		}
	}
	return objects
}

// The rights in the documentation are enough for all that a role does.
func TestDocumentedRights(t *testing.T) {
	t.Parallel()
	users := documentedRights(t)
	for name := range roles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &guarded{t: t, server: redistest.Start(t)}
			if denied := g.as(name, users[name], false); len(denied) > 0 {
				t.Errorf("denied: %q", denied)
			}
			if said := g.said.String(); g.failed.Load() || strings.Contains(said, "ACL") {
				t.Error(said)
			}
		})
	}
}

var allRights = flag.Bool("all-rights", false, "TestMissingRight: take each right away, not only some of each kind")

// telling are commands of each kind: sent by themselves, run by scripts in one way or another, and those that hear.
var telling = []string{"+evalsha", "+get", "+lpush", "+incr", "+brpop", "+publish", "+psubscribe", "+@write"}

// Without one of the rights something is said that names what was denied and how to allow it, or all works.
func TestMissingRight(t *testing.T) {
	t.Parallel()
	users := documentedRights(t)
	for name, rights := range users {
		for i, right := range rights {
			word := right.(string)
			chosen := *allRights || word[0] == '&' || word[0] == '~' || slices.Contains(telling, word)
			if i < 2 || word[0] == '-' || !chosen { // "on", the password
				continue
			}
			t.Run(name+" without "+word, func(t *testing.T) {
				t.Parallel()
				g := &guarded{t: t, server: redistest.Start(t)}
				denied := g.as(name, slices.Delete(slices.Clone(rights), i, i+1), !strings.Contains(word, "|") && word != "+info")
				switch {
				case g.failed.Load() && !g.named(denied):
					t.Errorf("denied was %q, and this is said:\n%s", denied, g.said.String())
				case !g.failed.Load():
					t.Logf("it is not needed; denied was %q", denied)
				}
			})
		}
	}
}
