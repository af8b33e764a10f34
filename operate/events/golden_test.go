package events_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/worker"
)

// golden are events as Celery sends them.
type golden struct {
	Channel string
	Headers struct{ Hostname string }
	Body    string
}

// varying are figures that no two workers have in common.
var varying = regexp.MustCompile(`"(pid|clock|timestamp|loadavg)": (\[[0-9., ]*\]|[0-9.]+)|py-celery|apium|gen[0-9]+@`)

func TestGolden(t *testing.T) {
	raised := func(class, args, traceback string) worker.Event {
		return worker.Event{
			Raised:    &protocol.Exception{Type: class, Message: []byte(args)},
			Traceback: "Traceback (most recent call last):\n  …\n" + traceback + "\n", Registered: true,
		}
	}
	of := func(kind worker.Kind, id string, e worker.Event) worker.Event {
		e.Kind, e.Task = kind, task(id)
		return e
	}
	exhausted := "Can't retry tapp.retry_noexc[l-retrynoexc] args:() kwargs:{}"
	steps := []worker.Event{
		of(worker.Received, "r-success", worker.Event{}),
		of(worker.Started, "r-success", worker.Event{}),
		of(worker.Succeeded, "r-success", worker.Event{Result: []byte("5"), Runtime: 15840235 * time.Nanosecond}),
		of(worker.Failed, "r-failure", raised("ValueError", `["bad", 7]`, "ValueError: ('bad', 7)")),
		of(worker.Revoked, "r-expired", worker.Event{Expired: true}),
		of(worker.Retried, "r-retry", raised("KeyError", `["again"]`, "celery.exceptions.Retry: Retry in 1s: KeyError('again')")),
		of(worker.Rejected, "r-reject", worker.Event{}),
		of(worker.Revoked, "l-term", worker.Event{Terminated: true, Signum: 15}),
		of(worker.Retried, "l-retrynoexc", worker.Event{Traceback: raised("", "[]", "celery.exceptions.Retry: Retry in 0s").Traceback}),
		of(worker.Failed, "l-retrynoexc", raised("MaxRetriesExceededError", `["`+exhausted+`"]`, "celery.exceptions.MaxRetriesExceededError: "+exhausted)),
		of(worker.Rejected, "l-noackfail", worker.Event{}),
		of(worker.Failed, "l-noackfail", raised("ValueError", `["nak"]`, "ValueError: nak")),
	}
	got := map[string]bool{}
	inBubble(t, events.Config{TaskEvents: true}, func(t *testing.T, b *bench) {
		note := func() {
			for _, sent := range b.wire.take(t) {
				got[varying.ReplaceAllString(sent, `"$1"`)] = true
			}
		}
		note()
		for _, step := range steps {
			b.Observe(step)
			b.sleep(10 * time.Millisecond)
			note()
		}
		b.TaskSent(task("o-sent"))
		b.sleep(2 * time.Second)
		note()
	})
	raw, err := os.ReadFile("testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []golden
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		_, key, _ := strings.Cut(g.Channel, "celeryev/")
		want := varying.ReplaceAllString(key+": "+g.Body, `"$1"`)
		want = strings.Replace(want, `"active": 0, "processed": 0`, `"active": 1, "processed": 29`, 1)
		want = strings.Replace(want, `"active": 0`, `"active": 1`, 1)
		want = strings.Replace(want, "0.015840235000041503", "0.015840235", 1)
		if !got[want] {
			t.Errorf("missing %s", want)
		}
	}
	if t.Failed() {
		for sent := range got {
			t.Log(sent)
		}
	}
}
