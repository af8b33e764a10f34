package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// concluding is a consumer that shows what is published along with acknowledgements.
type concluding struct {
	broker.Consumer
	conclude func(tag, published string)
}

func (c *concluding) Concluder(p broker.Publisher) broker.Concluder {
	return &shown{c, c.Consumer.(broker.Concluders).Concluder(p)}
}

type shown struct {
	c *concluding
	broker.Concluder
}

func (s *shown) Conclude(ctx context.Context, conclusions ...broker.Conclusion) (lost []string, err error) {
	for _, conclusion := range conclusions {
		var all strings.Builder
		for _, m := range conclusion.Publish {
			all.Write(m.Message.Headers)
		}
		s.c.conclude(conclusion.Tag, all.String())
	}
	return s.Concluder.Conclude(ctx, conclusions...)
}

// TestBodyGoesWithTheLastPart: the body of a chord is published in one step with the
// acknowledgement of the task that has completed it. If that is somebody else's by then, the
// body is published all the same, and once.
func TestBodyGoesWithTheLastPart(t *testing.T) {
	for name, lost := range map[string]bool{"held": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				bodies, along := 0, 0
				b.reg.Register("app.add", add, tasks.AcksLate(true))
				b.reg.Register("app.total", func([]int) int { bodies++; return 7 })
				b.cfg.Consumer = &concluding{b.broker.Consumer(queue), func(tag, published string) {
					if !strings.Contains(published, `"app.total"`) {
						return
					}
					if along++; lost && along == 1 {
						b.broker.Expire(tag)
					}
				}}
				b.start()
				body := b.send(canvas.Chord([]canvas.Signature{canvas.Sig("app.add", 1, 2), canvas.Sig("app.add", 3, 4)}, canvas.Sig("app.total")))
				b.sleep(2 * time.Minute)
				b.wantResult(body, "SUCCESS 7")
				b.wantQueued(0, 0)
				if along != 1 || bodies != 1 {
					t.Errorf("the body went along with %d acknowledgements and ran %d times, want 1 and 1", along, bodies)
				}
			})
		})
	}
}

// TestWhatGoesWithALateAcknowledgement: callbacks, the next step, retries, replacements and
// errbacks do, but not what a task publishes while it runs, or where successes are not run again.
func TestWhatGoesWithALateAcknowledgement(t *testing.T) {
	next := canvas.Sig("app.next").Immutable()
	tests := []struct {
		name  string
		call  canvas.Signature
		along string // the message that goes along; "": none does
		early bool
		dedup bool
	}{
		{"callback", canvas.Sig("app.do").Link(next), `"app.next"`, false, false},
		{"step", canvas.Chain(canvas.Sig("app.do"), next), `"app.next"`, false, false},
		{"errback", canvas.Sig("app.fail").LinkError(next), `"app.next"`, false, false},
		{"retry", canvas.Sig("app.retry"), `"retries": 1`, false, false},
		{"replacement", canvas.Sig("app.replace"), `"app.next"`, false, false},
		{"early", canvas.Sig("app.do").Link(next), "", true, false},
		{"deduplicated", canvas.Sig("app.do").Link(next), "", false, true},
		{"nothing", canvas.Sig("app.do"), "", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				late := tasks.AcksLate(!tt.early)
				ran := 0
				b.reg.Register("app.do", func() {}, late)
				b.reg.Register("app.fail", func() error { return tasks.Raise("ValueError", "bad") }, late)
				b.reg.Register("app.next", func() { ran++ })
				b.reg.Register("app.replace", func(ctx context.Context) error { return tasks.Replace(ctx, next) }, late)
				b.reg.Register("app.retry", func(ctx context.Context) error {
					if ran++; tasks.Current(ctx).Retries == 0 {
						ran = 0
						return tasks.Retry(nil, tasks.RetryCountdown(0))
					}
					return nil
				}, late)
				var along strings.Builder
				b.cfg.Deduplicate = tt.dedup
				b.cfg.Consumer = &concluding{b.broker.Consumer(queue), func(_, published string) { along.WriteString(published) }}
				b.start()
				b.send(tt.call)
				b.sleep(time.Second)
				if got := along.String(); (got != "") != (tt.along != "") || !strings.Contains(got, tt.along) {
					t.Errorf("along with the acknowledgement: %s", got)
				}
				if want := map[bool]int{false: 1}[tt.name == "nothing"]; ran != want {
					t.Errorf("what follows ran %d times, want %d", ran, want)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}
