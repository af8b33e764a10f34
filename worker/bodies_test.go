package worker_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// raw is a message of protocol 2 whose body nobody here can read.
func raw(task, id, contentType string) string {
	return fmt.Sprintf(`{"body": "gASVCgAAAAAAAABdlGguLg==", "content-encoding": "binary", "content-type": %q, `+
		`"headers": {"lang": "py", "task": %q, "id": %q, "eta": null, "expires": null, "argsrepr": "(<Order 7>,)", "kwargsrepr": "{}"}, `+
		`"properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "t"}}`,
		contentType, task, id)
}

const pickled = "application/x-python-serialize"

// A message is passed on whole to an executor that reads it itself, whatever is in it: here a
// pickle, which is not even accepted from a Go handler's producers.
func TestOthersReadBodiesThemselves(t *testing.T) {
	for _, late := range []bool{false, true} {
		var got protocol.Message
		e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
			"py.task": func(p *process, run *worker.Run) worker.Outcome {
				var r protocol.Received
				run.Message().Read(&r)
				got, _ = r.Message()
				return p.works(run, time.Minute)
			},
		}}
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			opts := map[string][]tasks.Option{"py.task": {tasks.AcksLate(late), tasks.TimeLimit(time.Second)}}
			withProcesses(t, 1, opts, e, func(t *testing.T, b *bench) {
				b.start()
				message := raw("py.task", "1", pickled)
				b.publish(message)
				b.wantEvents("received", "started")
				if !reflect.DeepEqual(got, envelopetest.Message([]byte(message))) {
					t.Errorf("the executor got %+v", got)
				}
				if active := b.w.Operations().Active(); len(active) != 1 || active[0].ArgsRepr != "(<Order 7>,)" || active[0].Args != nil {
					t.Errorf("active = %+v", active)
				}
				b.sleep(time.Minute) // its failure concerns nobody else, as far as is known
				b.wantEvents("received", "started", "failed TimeLimitExceeded")
				b.wantQueued(0, 0)
			})
		})
	}
}

// Whatever a body is that cannot be read here, or must not be, its executor gets it, and what
// becomes of the task without it is decided by its headers.
func TestBodiesThatOnlyOthersRead(t *testing.T) {
	plain := raw("py.task", "1", "application/json")
	without := func(headers ...string) string {
		message := plain
		for _, h := range headers {
			message = strings.Replace(message, h, "", 1)
		}
		return message
	}
	inOne := func(message string) string {
		return strings.Replace(message, `"headers": {`, `"headers": {"compression": "application/x-own", `, 1)
	}
	at := func(header, when string) string {
		return strings.Replace(raw("py.task", "1", pickled), `"`+header+`": null`, `"`+header+`": `+when, 1)
	}
	soon, past := protocolTime(time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)), protocolTime(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))
	ran := []string{"received", "started", "succeeded"}
	const unheard = "Cannot read the body of task py.task[1]: neither its chord nor its errbacks hear of its end"
	tests := []struct {
		name, message string
		events        []string
		log           string
	}{
		{"garbage", plain, ran, ""},
		{"signed", raw("py.task", "1", "application/data"), ran, ""},
		{"not accepted", raw("py.task", "1", pickled), ran, ""},
		{"unknown content type", raw("py.task", "1", "application/x-own"), ran, ""},
		{"unknown compression", inOne(plain), ran, ""},
		{"garbage, of another client", without(`"eta": null, `), ran, ""},
		{"not accepted, of another client", strings.Replace(without(`"eta": null, `), "application/json", pickled, 1), ran, ""},
		{"no ETA that can be", at("eta", `"soon"`), []string{"refused content_type", "failed ContentDisallowedcontent_type", "buried ContentDisallowedcontent_type"}, ""},
		{"no ETA that can be, of another client", strings.Replace(without(`"expires": null, `), `"eta": null`, `"eta": "soon"`, 1), []string{"refused invalid", "failed InvalidTaskErrorinvalid", "buried InvalidTaskErrorinvalid"}, ""},
		{"no id", without(`"id": "1", `), []string{"refused undecodable", "failed DecodeErrorundecodable", "buried DecodeErrorundecodable"}, ""},
		{"no id, not accepted", strings.Replace(without(`"id": "1", `), "application/json", pickled, 1), []string{"refused content_type", "failed ContentDisallowedcontent_type", "buried ContentDisallowedcontent_type"}, ""},
		{"due later", at("eta", soon), ran, ""},
		{"expired", at("expires", past), []string{"revoked TaskRevokedError"}, unheard},
		{"revoked", strings.ReplaceAll(raw("py.task", "1", pickled), `"1"`, `"revoked"`), []string{"revoked TaskRevokedError"}, "neither its chord nor its errbacks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
				"py.task": func(p *process, run *worker.Run) worker.Outcome {
					got = string(run.Message().Text())
					return p.works(run, time.Second)
				},
			}}
			withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
				b.start()
				b.w.Operations().Revoke(t.Context(), "revoked")
				b.publish(tt.message)
				b.sleep(2 * time.Minute)
				b.wantEvents(tt.events...)
				b.wantQueued(0, 0)
				if runs := tt.events[len(tt.events)-1] == "succeeded"; runs != (got != "") {
					t.Errorf("the executor got %s", got)
				}
				if tt.log != "" {
					b.wantLog(tt.log)
				}
			})
		})
	}
}

// What becomes of a message is decided by its headers. Its body is read for the handler; one
// that cannot be read is never acknowledged as if it had been run.
func TestBodiesAreReadWhenTheyAreBound(t *testing.T) {
	const decode = `FAILURE {"exc_type": "DecodeError"`
	past := `, "expires": ` + protocolTime(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))
	tests := []struct {
		name, message string
		result        string
		events        []string
	}{
		{"garbage", raw("app.early", "1", "application/json"), decode, []string{"received", "refused undecodable", "failed DecodeErrorundecodable", "buried DecodeErrorundecodable"}},
		{"garbage, late", raw("app.late", "1", "application/json"), decode, []string{"received", "refused undecodable", "failed DecodeErrorundecodable", "buried DecodeErrorundecodable"}},
		{"content type", raw("app.early", "1", pickled), `FAILURE {"exc_type": "ContentDisallowed"`, []string{"refused content_type", "failed ContentDisallowedcontent_type", "buried ContentDisallowedcontent_type"}},
		{"revoked", raw("app.early", "revoked", "application/json"), `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["revoked"]`, []string{"revoked TaskRevokedError"}},
		{"expired", strings.Replace(raw("app.early", "1", "application/json"), `, "expires": null`, past, 1), `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["expired"]`, []string{"revoked TaskRevokedError"}},
		{"unknown", raw("no.such", "1", "application/json"), `FAILURE {"exc_type": "NotRegistered"`, []string{"failed NotRegistered"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.early", func() { t.Error("it ran") })
				b.reg.Register("app.late", func() { t.Error("it ran") }, tasks.AcksLate(true))
				b.start()
				b.w.Operations().Revoke(t.Context(), "revoked")
				b.publish(tt.message)
				id := "1"
				if tt.name == "revoked" {
					id = "revoked"
				}
				if got := b.result(id); !strings.HasPrefix(got, tt.result) {
					t.Errorf("result = %s", got)
				}
				b.wantEvents(tt.events...)
				b.wantQueued(0, 0)
				refused := strings.HasPrefix(tt.events[len(tt.events)-1], "buried")
				if letters := b.broker.DeadLetters(); refused != (len(letters) == 1) { // one was not acknowledged before
					t.Errorf("dead letters: %v", letters)
				}
				if strings.Contains(tt.result, "DecodeError") {
					b.wantLog("Can't decode message body")
				}
			})
		})
	}
}

func protocolTime(at time.Time) string { return `"` + protocol.FormatTime(at) + `"` }
