package events

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/worker"
)

// types are the event types of the steps of a task.
var types = map[worker.Kind]string{
	worker.Received:  "task-received",
	worker.Started:   "task-started",
	worker.Succeeded: "task-succeeded",
	worker.Failed:    "task-failed",
	worker.Retried:   "task-retried",
	worker.Rejected:  "task-rejected",
	worker.Revoked:   "task-revoked",
}

// event is a JSON object that is being written.
type event []byte

func (e event) text(name, value string) event {
	return append(e.key(name), quote(value)...)
}

// textOrNull writes null for "".
func (e event) textOrNull(name, value string) event {
	if value == "" {
		return append(e.key(name), "null"...)
	}
	return e.text(name, value)
}

func (e event) integer(name string, value int64) event {
	return strconv.AppendInt(e.key(name), value, 10)
}

func (e event) float(name string, value float64) event {
	return appendFloat(e.key(name), value)
}

func (e event) boolean(name string, value bool) event {
	return strconv.AppendBool(e.key(name), value)
}

func (e event) raw(name, value string) event { return append(e.key(name), value...) }

func (e event) time(name string, t time.Time) event {
	if t.IsZero() {
		return e.raw(name, "null")
	}
	return e.text(name, protocol.FormatTime(t))
}

func (e event) key(name string) event {
	if len(e) > 1 {
		e = append(e, ", "...)
	}
	return append(append(append(e, '"'), name...), `": `...)
}

// end writes what all events end with.
func (e event) end(kind string, at time.Time) event {
	return append(e.float("timestamp", float64(at.UnixMicro())/1e6).text("type", kind), '}')
}

// appendFloat writes a float as Python does: never without a point.
func appendFloat(dst []byte, f float64) []byte {
	encoded, err := pyjson.Append(dst, f)
	if err != nil {
		return append(dst, "0.0"...) // cannot be: no figure here is infinite
	}
	return encoded
}

func quote(s string) []byte {
	quoted, err := pyjson.Append(nil, s)
	if err != nil {
		return []byte(`""`) // cannot be: a string has a JSON form
	}
	return quoted
}

// begin writes what all events begin with.
func (d *Dispatcher) begin(now time.Time) event {
	return append(make(event, 0, eventSize), '{').text("hostname", d.cfg.Hostname).
		integer("utcoffset", utcOffset(now)).integer("pid", int64(os.Getpid())).integer("clock", d.worker.Clock().Forward())
}

// eventSize is about what an event needs.
const eventSize = 384

// utcOffset is the hours west of UTC, rounded down (celery.utils.time.utcoffset).
func utcOffset(now time.Time) int64 {
	_, east := now.Zone()
	west := int64(-east)
	hours := west / 3600
	if west%3600 < 0 {
		hours--
	}
	return hours
}

// taskFields writes what is particular to an event of a task.
func taskFields(e event, of *worker.Event) event {
	t := of.Task
	e = e.text("uuid", t.ID)
	switch of.Kind {
	case worker.Received:
		e = e.text("name", t.DisplayName()).text("args", argsRepr(t)).text("kwargs", kwargsRepr(t)).
			textOrNull("root_id", t.RootID).textOrNull("parent_id", t.ParentID).integer("retries", int64(t.Retries)).
			time("eta", t.ETA).time("expires", t.Expires)
	case worker.Succeeded:
		if of.Result == nil { // not run again: it had succeeded before
			return e.raw("result", "null").raw("runtime", "null")
		}
		e = e.text("result", protocol.SafeRepr(of.Result)).float("runtime", of.Runtime.Seconds())
	case worker.Failed:
		e = e.text("exception", exceptionRepr(of.Raised))
		if of.Registered {
			e = e.text("traceback", of.Traceback)
		}
	case worker.Retried:
		e = e.text("exception", exceptionRepr(of.Raised)).text("traceback", of.Traceback)
	case worker.Rejected:
		e = e.boolean("requeue", of.Requeue)
	case worker.Revoked:
		signum := "null"
		if of.Terminated {
			signum = "15" // SIGTERM, which a prefork worker would have sent
		}
		e = e.boolean("terminated", of.Terminated).raw("signum", signum).boolean("expired", of.Expired)
	default: // has no fields of its own
	}
	return e
}

// argsRepr is the header's text; protocol 1 has none, and it is made on arrival.
func argsRepr(t *protocol.Task) string {
	if t.ArgsRepr == "" && t.Protocol == 1 {
		return protocol.ArgsRepr(t.Args)
	}
	return t.ArgsRepr
}

func kwargsRepr(t *protocol.Task) string {
	if t.KwargsRepr == "" && t.Protocol == 1 {
		return protocol.KwargsRepr(t.Kwargs)
	}
	return t.KwargsRepr
}

func exceptionRepr(exc *protocol.Exception) string {
	if exc == nil {
		return "None"
	}
	return exc.Repr()
}

// software is what worker events say of the program.
func (d *Dispatcher) software(e event) event {
	return e.text("sw_ident", "apium").text("sw_ver", d.cfg.Version).text("sw_sys", system())
}

// system is Python's platform.system().
func system() string {
	if runtime.GOOS == "darwin" {
		return "Darwin"
	}
	return strings.ToUpper(runtime.GOOS[:1]) + runtime.GOOS[1:]
}

// loadAverage is the load of the last 1, 5 and 15 minutes, as JSON; zeros where the
// system does not tell.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return "[0.0, 0.0, 0.0]"
	}
	dst := []byte{'['}
	for i, field := range fields[:3] {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		f, _ := strconv.ParseFloat(field, 64) // 0 for what is no number
		dst = appendFloat(dst, f)
	}
	return string(append(dst, ']'))
}
