package cli

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/apium/apium/protocol"
)

// dumpedTasks bounds the tasks whose arguments a dump knows.
const dumpedTasks = 4095

// eventDump prints events as "celery events --dump" does (celery/events/dumper.py).
type eventDump struct {
	out   io.Writer
	tasks map[string]string // id → call
	order []string          // of their ids, the oldest first
}

var dumpedTypes = map[string]string{
	"worker-offline": "shutdown", "worker-online": "started", "worker-heartbeat": "heartbeat",
}

func (d *eventDump) print(e protocol.Event) error {
	kind := strings.ToLower(e.Text("type"))
	var b strings.Builder
	shown, known := dumpedTypes[kind]
	if !known {
		shown = strings.ReplaceAll(kind, "-", " ")
	}
	fmt.Fprintf(&b, "%s [%s] %s", e.Text("hostname"), pythonTime(e.Number("timestamp")), shown)
	left := maps.Clone(e)
	for _, name := range []string{"type", "hostname", "timestamp"} {
		delete(left, name)
	}
	call, isTask := "", strings.HasPrefix(kind, "task-")
	if isTask {
		delete(left, "uuid")
		if kind == "task-received" || kind == "task-sent" {
			d.remember(e)
			for _, name := range []string{"name", "args", "kwargs"} {
				delete(left, name)
			}
		}
		call = " " + d.tasks[e.Text("uuid")]
	}
	fields := make([]string, 0, len(left))
	for _, name := range slices.Sorted(maps.Keys(left)) {
		fields = append(fields, name+"="+pythonText(left[name]))
	}
	if len(fields) > 0 {
		b.WriteByte(':')
	}
	fmt.Fprintf(&b, "%s %s\n", call, strings.Join(fields, ", "))
	_, err := io.WriteString(d.out, printable(b.String()))
	return err
}

// remember keeps the call of a task for the events that do not name it.
func (d *eventDump) remember(e protocol.Event) {
	id := e.Text("uuid")
	if d.tasks == nil {
		d.tasks = map[string]string{}
	}
	if _, known := d.tasks[id]; !known {
		d.order = append(d.order, id)
	}
	d.tasks[id] = fmt.Sprintf("%s(%s) args=%s kwargs=%s",
		pythonText(e["name"]), id, pythonText(e["args"]), pythonText(e["kwargs"]))
	if len(d.order) > dumpedTasks {
		delete(d.tasks, d.order[0])
		d.order = d.order[1:]
	}
}

// pythonTime is Python's str of a time stamp as a datetime in UTC.
func pythonTime(timestamp float64) string {
	if !(math.Abs(timestamp) < 1e11) {
		return "?"
	}
	seconds, fraction := math.Modf(timestamp)
	t := time.Unix(int64(seconds), int64(math.RoundToEven(fraction*1e6))*1000).UTC()
	text := t.Format("2006-01-02 15:04:05")
	if micros := t.Nanosecond() / 1000; micros > 0 {
		text += fmt.Sprintf(".%06d", micros)
	}
	return text + "+00:00"
}

// printable replaces what would control the terminal; lines stay lines.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
