package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// readers are processes that can read bodies, too.
type readers struct {
	processes

	says  string // of each body; "": nothing, ever
	err   error
	reads int
}

func (e *readers) ReadBody(ctx context.Context, _ broker.Content) ([]byte, error) {
	e.reads++
	if e.says == "" && e.err == nil {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return []byte(e.says), e.err
}

// untold is a message of protocol 1 whose body nobody here can read.
const untold = `{"body": "gASVCgAAAAAAAABdlGguLg==", "content-encoding": "binary", "content-type": "` + pickled + `", "headers": {}, ` +
	`"properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "t"}}`

// told is what its body says.
func told(task, more string) string {
	return fmt.Sprintf(`{"task": %q, "id": "1", "retries": 0, "args": []%s}`, task, more)
}

func withReaders(t *testing.T, e *readers, test func(t *testing.T, b *bench)) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bench) {
		e.tasks = map[string]func(*process, *worker.Run) worker.Outcome{
			"py.task": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Minute) },
		}
		b.reg.RegisterFor("python", "py.task", tasks.TimeLimit(time.Hour))
		b.reg.Register("app.go", func() {})
		b.cfg.AcceptContent = []string{"json", "pickle"}
		b.cfg.Executors = map[string]worker.ExecutorConfig{"python": {Executor: e, Concurrency: 1}}
		test(t, b)
	})
}

// Where the headers are in a body that only an executor can read, the worker has them from it, and
// treats the message as any other.
func TestBodiesAreReadByAnExecutor(t *testing.T) {
	soon, past := protocolTime(time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)), protocolTime(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))
	ran := []string{"received", "started", "succeeded"}
	tests := []struct {
		name, says string
		err        error
		events     []string
		log        string
	}{
		{"runs", told("py.task", ""), nil, ran, ""},
		{"due later", told("py.task", `, "eta": `+soon), nil, ran, ""},
		{"expired", told("py.task", `, "expires": `+past), nil, []string{"revoked TaskRevokedError"}, ""},
		{"revoked", told("py.task", `, "id": "revoked"`), nil, []string{"revoked TaskRevokedError"}, ""},
		{"over its limit", told("py.task", `, "timelimit": [30, null], "errbacks": [{"task": "app.go", "args": [], "kwargs": {}, "immutable": true}]`), nil, []string{"received", "started", "failed TimeLimitExceeded", "received", "started", "succeeded"}, ""},
		{"unknown", told("py.nosuch", ""), nil, []string{"failed NotRegistered"}, "Received unregistered task of type 'py.nosuch'"},
		{"arguments that cannot be", told("py.task", `, "kwargs": 1`), nil, []string{"refused invalid", "failed InvalidTaskErrorinvalid", "buried InvalidTaskErrorinvalid"}, ""},
		{"for a Go handler", told("app.go", ""), nil, []string{"refused undecodable", "failed DecodeErrorundecodable", "buried DecodeErrorundecodable"}, ""},
		{"no task", `[]`, nil, []string{"refused unknown", "buried unknown"}, ""},
		{"no id", `{"task": "py.task", "args": []}`, nil, ran, ""},
		{"unreadable", "", errors.New("no such class"), []string{"refused undecodable", "buried undecodable"}, "no such class"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &readers{says: tt.says, err: tt.err}
			withReaders(t, e, func(t *testing.T, b *bench) {
				b.start()
				b.w.Operations().Revoke(t.Context(), "revoked")
				b.publish(untold)
				b.sleep(3 * time.Minute)
				b.wantEvents(tt.events...)
				b.wantQueued(0, 0)
				if tt.log != "" {
					b.wantLog(tt.log)
				}
				if b.countLog("Cannot read the body") != 0 {
					t.Error("whom its end concerns is not known")
				}
				if want := map[bool]int{true: 2, false: 1}[tt.name == "due later"]; e.reads != want { // it was parked
					t.Errorf("%d reads", e.reads)
				}
			})
		})
	}
}

// A body that takes long to read holds nobody up. At the shutdown its message goes back.
func TestReadingABodyIsGivenUp(t *testing.T) {
	withReaders(t, &readers{}, func(t *testing.T, b *bench) {
		b.start()
		b.publish(untold)
		b.sleep(time.Second)
		b.publish(raw("py.task", "2", pickled))
		b.sleep(2 * time.Minute)
		b.wantEvents("received", "started", "succeeded")
		b.wantQueued(0, 1)
		b.warm()
		b.wantQueued(1, 0)
	})
}

// Nobody is asked where the worker can read the message, or must not.
func TestBodiesThatNobodyIsAskedFor(t *testing.T) {
	for name, message := range map[string]string{
		"with headers": raw("py.task", "1", pickled), "garbage": raw("", "", "application/json"), "not accepted": raw("", "", "application/x-yaml"),
	} {
		t.Run(name, func(t *testing.T) {
			e := &readers{says: told("py.task", "")}
			withReaders(t, e, func(t *testing.T, b *bench) {
				b.start()
				b.publish(message)
				b.sleep(2 * time.Minute)
				if e.reads != 0 {
					t.Errorf("%d reads", e.reads)
				}
			})
		})
	}
}

// Operators are told of what waits in the broker, whoever can read it.
func TestScheduledInBodiesThatOthersRead(t *testing.T) {
	hour := protocolTime(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC))
	e := &readers{says: told("py.task", `, "eta": `+hour)}
	withReaders(t, e, func(t *testing.T, b *bench) {
		b.start()
		b.publish(untold)
		b.publish(strings.Replace(raw("py.task", "2", pickled), `"eta": null`, `"eta": `+hour, 1))
		b.sleep(time.Minute)
		list, err := b.w.Operations().Scheduled(t.Context(), 10)
		var ids []string
		for _, task := range list {
			ids = append(ids, task.Name+" "+task.ID)
		}
		slices.Sort(ids)
		if want := []string{"py.task 1", "py.task 2"}; err != nil || !slices.Equal(ids, want) {
			t.Errorf("scheduled: %q, %v; want %q", ids, err, want)
		}
		e.mu.Lock()
		e.says = "" // it does not answer any more
		e.mu.Unlock()
		if list, err = b.w.Operations().Scheduled(t.Context(), 10); err != nil || len(list) != 1 || list[0].ID != "2" {
			t.Errorf("scheduled, without an answer: %v, %v", list, err)
		}
	})
}
