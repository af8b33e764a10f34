package protocol_test

import (
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
)

// TestResultsByteForByte decodes the records of the newest Celery and encodes them again.
func TestResultsByteForByte(t *testing.T) {
	t.Parallel()
	n := 0
	for _, run := range load[[]resultRun](t, newest, "results.json") {
		for id, c := range run.Tasks {
			for _, raw := range c.Records {
				n++
				r, err := protocol.DecodeResult([]byte(raw))
				if err != nil {
					t.Errorf("%s: %v", id, err)
					continue
				}
				if got := string(r.Append(nil)); got != raw {
					t.Errorf("%s, settings %v:\n got %s\nwant %s", id, run.Settings, got, raw)
				}
				if r.TaskID != id {
					t.Errorf("%s: task id %q", id, r.TaskID)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d captured records", n)
	}
}

// TestResultsOfEveryVersion reads what clients and workers of old versions wrote.
func TestResultsOfEveryVersion(t *testing.T) {
	t.Parallel()
	for _, version := range captures(t) {
		for _, run := range load[[]resultRun](t, version, "results.json") {
			for id, c := range run.Tasks {
				for _, raw := range c.Records {
					r, err := protocol.DecodeResult([]byte(raw))
					if err != nil {
						t.Errorf("%s %s: %v in %s", version, id, err, raw)
						continue
					}
					checkResult(t, version, id, c.Repr, raw, r)
				}
			}
		}
	}
}

func checkResult(t *testing.T, version, id, repr, raw string, r *protocol.Result) {
	t.Helper()
	old := version == "celery-3.1.26"
	if (r.TaskID == "") != old {
		t.Errorf("%s %s: task id %q", version, id, r.TaskID)
	}
	if r.State.Ready() && r.DateDone.IsZero() != old {
		t.Errorf("%s %s: done at %v", version, id, r.DateDone)
	}
	if (r.Traceback != nil) != strings.Contains(raw, `"traceback": "`) {
		t.Errorf("%s %s: traceback %v", version, id, r.Traceback)
	}
	if r.State != protocol.Failure && r.State != protocol.Revoked {
		return
	}
	e, err := protocol.DecodeException(r.Result)
	if err != nil {
		t.Errorf("%s %s: %v", version, id, err)
		return
	}
	if got := string(e.Append(nil)); !old && got != string(r.Result) {
		t.Errorf("%s %s: got %s, want %s", version, id, got, r.Result)
	}
	if repr != "" && e.Type != "Reject" && e.Repr() != repr { // Reject has a repr of its own
		t.Errorf("%s %s: got repr %s, want %s", version, id, e.Repr(), repr)
	}
	if e.Module == "builtins" && !strings.HasSuffix(strings.TrimSpace(*r.Traceback), e.Error()) {
		t.Errorf("%s %s: the traceback does not end with %q: %s", version, id, e.Error(), *r.Traceback)
	}
}

func TestResultZero(t *testing.T) {
	t.Parallel()
	r := protocol.Result{State: protocol.Success, TaskID: "é", DateDone: time.Date(2030, 1, 2, 3, 4, 5, 999, time.UTC)}
	const want = `{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "date_done": "2030-01-02T03:04:05+00:00", "task_id": "\u00e9"}`
	if got := string(r.Append(nil)); got != want {
		t.Errorf("got %s", got)
	}
	e := protocol.Exception{Type: "Outer.Inner", Module: "shop.errors"}
	if got := string(e.Append(nil)); got != `{"exc_type": "Outer.Inner", "exc_message": [], "exc_module": "shop.errors"}` {
		t.Errorf("got %s", got)
	}
	if e.Repr() != "Inner()" || e.Error() != "shop.errors.Outer.Inner" {
		t.Errorf("got %s and %s", e.Repr(), e.Error())
	}
}

func TestDecodeResultErrors(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{``, `[]`, `{}`, `{"status": "SUCCESS"`, `{"status": "SUCCESS", "date_done": "soon"}`} {
		if r, err := protocol.DecodeResult([]byte(raw)); err == nil {
			t.Errorf("%s: got %+v", raw, r)
		}
	}
	for _, raw := range []string{`null`, `{}`, `{"exc_message": []}`} {
		if e, err := protocol.DecodeException([]byte(raw)); err == nil {
			t.Errorf("%s: got %+v", raw, e)
		}
	}
}

func BenchmarkResultAppend(b *testing.B) {
	r := protocol.Result{
		State: protocol.Success, Result: []byte("4"), DateDone: time.Date(2030, 1, 2, 3, 4, 5, 678000, time.UTC),
		TaskID: "0f3ae2ab-36c4-4e3c-bd8c-0ad1f3a9a0ab",
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = r.Append(dst[:0])
	}
}
