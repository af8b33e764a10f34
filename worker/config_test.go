package worker_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

func TestConfigurationsThatCannotBe(t *testing.T) {
	t.Parallel()
	negative := -time.Second
	rate := "often"
	memory := new(membroker.Broker)
	for _, tt := range []struct {
		name string
		cfg  worker.Config
		want string // part of the error; "": there is none
	}{
		{"good", worker.Config{Concurrency: 1}, ""},
		{"without a registry", worker.Config{}, "Registry is required"},
		{"bounds", worker.Config{Autoscale: worker.Autoscale{Max: 1, Min: 2}}, "Autoscale must have bounds 0 <= Min <= Max, not 2 and 1"},
		{"a limit of all tasks", worker.Config{Defaults: tasks.Options{TimeLimit: &negative}}, "worker: Defaults: "},
		{"a limit of a task", worker.Config{Annotations: []map[string]tasks.Options{{"app.do": {RateLimit: &rate}}}}, `worker: Annotations["app.do"]: `},
		{"an executor without a name", worker.Config{Executors: map[string]worker.ExecutorConfig{"": {}}}, `Executors[""] must have a name`},
		{"a pool that is no executor", worker.Config{Pool: "python"}, `Pool: there is no executor "python"`},
		{"forwarding to nowhere", worker.Config{Unknown: tasks.UnknownPolicy{Action: tasks.UnknownForward}}, "worker: Unknown: forward needs a queue"},
		{
			"forwarding in a circle",
			worker.Config{UnknownByQueue: map[string]tasks.UnknownPolicy{"q": {Action: tasks.UnknownForward, Queue: "q"}}},
			"worker: UnknownByQueue[q] forwards the queue to itself",
		},
		{
			"parking where nothing moves", worker.Config{
				Consumer:       struct{ broker.Consumer }{memory.Consumer(queue)},
				UnknownByQueue: map[string]tasks.UnknownPolicy{"q": {Action: tasks.UnknownPark}},
			}, "worker: UnknownByQueue[q]: struct { broker.Consumer } cannot move messages",
		},
		{"parking where messages move", worker.Config{
			Consumer: memory.Consumer(queue), Unknown: tasks.UnknownPolicy{Action: tasks.UnknownPark},
		}, ""},
	} {
		cfg := tt.cfg
		if tt.name != "without a registry" {
			cfg.Registry = tasks.NewRegistry()
		}
		switch err := cfg.Validate(); {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// What a task publishes has the priority of the task, if that is wanted, and the options of
// what is published.
func TestOptionsOfWhatIsPublished(t *testing.T) {
	for _, inherits := range []bool{false, true} {
		next, own := 0, 7
		if inherits { // the parent's comes before the callback's own, as in Celery
			next, own = 4, 4
		}
		t.Run(map[bool]string{false: "own priority", true: "inherited priority"}[inherits], func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.InheritParentPriority = inherits
				b.cfg.Annotations = []map[string]tasks.Options{{"app.elsewhere": {Publishing: canvas.Options{canvas.Queue("elsewhere")}}}}
				var mu sync.Mutex // two callbacks run at the same time
				priorities := map[string]int{}
				note := func(ctx context.Context) {
					mu.Lock()
					defer mu.Unlock()
					priorities[tasks.Current(ctx).ID] = tasks.Current(ctx).Priority
				}
				b.reg.Register("app.do", note)
				b.reg.Register("app.next", func(ctx context.Context, _ any) { note(ctx) })
				b.reg.Register("app.elsewhere", func(any) {})
				b.start()
				b.send(named("do").Set(canvas.Priority(4)).Link(named("next"), named("elsewhere"),
					canvas.Sig("app.next").Set(canvas.TaskID("own"), canvas.Priority(7))))
				if priorities["do"] != 4 || priorities["next"] != next || priorities["own"] != own {
					t.Errorf("priorities = %v", priorities)
				}
				if n := b.broker.Len("elsewhere"); n != 1 {
					t.Errorf("%d messages are elsewhere, want 1", n)
				}
			})
		})
	}
}

// A message's own time limits come before the task's.
func TestTimeLimitsOfAMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.slow", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Hour):
				return nil
			}
		}, tasks.TimeLimit(10*time.Minute), tasks.SoftTimeLimit(5*time.Minute))
		b.start()
		b.send(named("slow").Set(canvas.SoftTimeLimit(2*time.Second), canvas.TimeLimit(3*time.Second)))
		b.sleep(2500 * time.Millisecond)
		b.wantResult("slow", `FAILURE {"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}`)
		b.wantLog("Soft time limit (2s) exceeded for app.slow[slow]")
	})
}

// onlyStore is a backend that can do no more than it must.
type onlyStore struct{ results *membackend.Backend }

func (s onlyStore) Store(ctx context.Context, records ...backend.Record) error {
	return s.results.Store(ctx, records...)
}

func (onlyStore) Close() error { return nil }

// Chords need a backend that counts.
func TestChordsWithoutABackend(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Store = onlyStore{b.results}
		l := b.echoes("app.part", "app.body")
		b.reg.Register("app.do", func(ctx context.Context) error {
			_, err := tasks.Send(ctx, canvas.Chord([]canvas.Signature{canvas.Sig("app.part"), canvas.Sig("app.part")}, named("body")))
			return err
		})
		b.start()
		b.send(named("do"))
		if got := b.result("do"); !strings.Contains(got, "cannot count chords") {
			t.Errorf("result = %s", got)
		}
		b.send(canvas.Chord([]canvas.Signature{named("part")}, named("body")))
		b.wantLog("A task is part of a chord, and this worker's result backend cannot count chords: its body will not run")
		b.wantResult("part", "SUCCESS []")
		l.want(t, "app.part [] group")
	})
}
