package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/worker"
)

// The record of a run that an executor has retried is not stored over that of the retry, which may
// be done before the executor has answered: here it has expired. Nor is a retry held up for long by a
// run that goes on after it.
func TestRetryDoesNotOvertakeItsRun(t *testing.T) {
	for takes, want := range map[time.Duration]string{500 * time.Millisecond: "REVOKED", 5 * time.Second: "RETRY"} {
		t.Run(takes.String(), func(t *testing.T) {
			e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
				"py.again": func(p *process, run *worker.Run) worker.Outcome {
					o := p.works(run, takes)
					o.Settled.State = protocol.Retry
					o.Settled.Record = fmt.Appendf(nil, `{"status": "RETRY", "result": null, "task_id": %q}`, run.ID)
					return o
				},
			}}
			withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
				b.start()
				id := b.send(canvas.Sig("py.again"))
				b.sleep(10 * time.Millisecond)
				b.publish(strings.Replace(raw("py.again", id, pickled), `"expires": null`, `"expires": "1999-01-01T00:00:00+00:00", "retries": 1`, 1))
				b.sleep(takes - 20*time.Millisecond)
				if revoked := strings.HasPrefix(b.result(id), "REVOKED"); revoked != (want == "RETRY") {
					t.Errorf("when the run is about to end, the record is %q", b.result(id))
				}
				b.sleep(time.Minute)
				if got := b.result(id); !strings.HasPrefix(got, want) {
					t.Errorf("the record is %s", got)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}
