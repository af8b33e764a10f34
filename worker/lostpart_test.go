package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// A process is lost that has stored the success of a chord's last part, before it has counted it, when it has claimed the body,
// or when it has published that, too. The worker sees to it that the body runs, once.
func TestProcessLostInAChord(t *testing.T) {
	for _, moment := range []string{"stored", "claimed", "published", "published long ago", "left"} {
		t.Run(moment, func(t *testing.T) {
			e, bodies := &processes{}, 0
			var b *bench
			store := func(id, result string) {
				record := backend.Record{TaskID: id, Document: []byte(`{"status": "SUCCESS", "result": ` + result + `, "traceback": null, "children": []}`)}
				if err := b.results.Store(context.Background(), record); err != nil {
					t.Error(err)
				}
			}
			e.tasks = map[string]func(*process, *worker.Run) worker.Outcome{"py.part": func(p *process, run *worker.Run) worker.Outcome {
				switch moment {
				case "left": // to the worker to count
					p.works(run, 0)
					return worker.Outcome{Settled: &worker.Settled{State: protocol.Success, Part: []byte("7")}}
				case "published", "published long ago":
					store("the-body", "7")
					fallthrough
				case "claimed":
					index := 0
					counts, err := b.results.Count(context.Background(), backend.ChordPart{
						GroupID: run.GroupID, Index: &index, TaskID: run.ID, State: protocol.Success, Result: []byte("7"),
					})
					if err != nil || counts[0].State != backend.ChordComplete {
						t.Errorf("counted: %+v, %v", counts, err)
					}
					if moment == "published long ago" {
						if err := b.results.Renew(context.Background(), counts[0].Claim, 0); err != nil {
							t.Error(err)
						}
					}
				}
				store(run.ID, "7")
				p.died <- "signal 9 (SIGKILL)"
				return p.works(run, time.Hour)
			}}
			opts := map[string][]tasks.Option{"py.part": {tasks.AcksLate(true), tasks.RejectOnWorkerLost(true)}}
			withProcesses(t, 1, opts, e, func(t *testing.T, bench *bench) {
				b = bench
				b.reg.Register("app.total", func(parts []int) int { bodies++; return parts[0] })
				b.start()
				body := b.send(canvas.Chord([]canvas.Signature{canvas.Sig("py.part")}, canvas.Sig("app.total").Set(canvas.Opt("task_id", "the-body"))))
				b.sleep(time.Minute)
				want := 1
				if strings.HasPrefix(moment, "published") {
					want = 0
				}
				if b.wantResult(body, "SUCCESS 7"); bodies != want {
					t.Errorf("the body has run %d times, want %d", bodies, want)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// As long as a process that was lost has left a chord claimed, nobody gets its message again: they would take the body for published.
func TestProcessLostWithAClaim(t *testing.T) {
	const claimed = 3 * time.Second
	for name, opts := range map[string][]tasks.Option{
		"back":  {tasks.AcksLate(true), tasks.RejectOnWorkerLost(true), tasks.IgnoreResult(true)},
		"retry": {tasks.RetryOnWorkerLost(true), tasks.RetryDelay(0), tasks.IgnoreResult(true)},
	} {
		t.Run(name, func(t *testing.T) {
			var began []time.Time
			e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{"py.part": func(p *process, run *worker.Run) worker.Outcome {
				if began = append(began, time.Now()); len(began) == 1 {
					run.Begin(context.Background(), p.pid)
					return worker.Outcome{Err: &worker.LostError{Status: "signal 9 (SIGKILL)", Claimed: claimed}}
				}
				return p.works(run, 0)
			}}}
			withProcesses(t, 1, map[string][]tasks.Option{"py.part": opts}, e, func(t *testing.T, b *bench) {
				b.start()
				b.send(canvas.Sig("py.part"))
				b.sleep(time.Minute)
				if len(began) != 2 || began[1].Sub(began[0]) < claimed || began[1].Sub(began[0]) > claimed+time.Second {
					t.Errorf("it ran at %v", began)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// A part whose success is stored and that comes again does not run, but is counted.
func TestDeduplicationInAChord(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Deduplicate = true
		b.reg.Register("app.part", func() { t.Error("it ran again") }, tasks.AcksLate(true))
		b.reg.Register("app.total", func(parts []int) int { return parts[0] })
		body := b.send(canvas.Chord([]canvas.Signature{canvas.Sig("app.part").Set(canvas.Opt("task_id", "do"))}, canvas.Sig("app.total")))
		if err := b.results.Store(t.Context(), backend.Record{TaskID: "do", Document: []byte(`{"status": "SUCCESS", "result": 7, "children": [], "task_id": "do"}`)}); err != nil {
			t.Fatal(err)
		}
		b.redeliver()
		b.start()
		b.sleep(time.Minute)
		b.wantResult(body, "SUCCESS 7")
		b.wantQueued(0, 0)
	})
}
