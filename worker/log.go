package worker

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	"github.com/apium/apium/protocol"
)

// LevelCritical is Python's logging.CRITICAL, one step above slog.LevelError.
const LevelCritical = slog.LevelError + 4

const levelInfo = slog.LevelInfo

// TracebackKey is the attribute that carries a traceback, which Python's logging
// prints on the lines after the message.
const TracebackKey = "traceback"

func (w *Worker) enabled(level slog.Level) bool {
	return w.log.Enabled(context.Background(), level)
}

func nameAndID(t *protocol.Task) string { return t.DisplayName() + "[" + t.ID + "]" }

// taskAttrs are the attributes of every line about a task.
func taskAttrs(t *protocol.Task) []any {
	return []any{slog.String("task_name", t.DisplayName()), slog.String("task_id", t.ID)}
}

func (w *Worker) logReceived(r *request) {
	if w.enabled(levelInfo) {
		w.log.Info("Task "+nameAndID(r.Task)+" received", taskAttrs(r.Task)...)
	}
}

func (w *Worker) logSucceeded(r *request, end *outcome) {
	if !w.enabled(levelInfo) {
		return
	}
	w.log.Info("Task "+nameAndID(r.Task)+" succeeded in "+pythonSeconds(end.runtime.Seconds())+"s: "+
		protocol.SafeRepr(end.result), taskAttrs(r.Task)...)
}

// pythonSeconds writes a float as Python's str does: never without a point.
func pythonSeconds(s float64) string {
	text := strconv.FormatFloat(s, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

func (w *Worker) logFailed(r *request, exc *protocol.Exception) {
	attrs := taskAttrs(r.Task)
	if exc.Traceback != "" {
		attrs = append(attrs, slog.String(TracebackKey, exc.Traceback))
	}
	w.log.Error("Task "+nameAndID(r.Task)+" raised unexpected: "+exc.Repr(), attrs...)
}

// logUnknown is Celery's line for a task nobody registered.
func (w *Worker) logUnknown(r *request) {
	w.log.Error("Received unregistered task of type "+protocol.SafeRepr(quoted(r.Name))+".\n"+
		"The message has been ignored and discarded.\n\n"+
		"Is its handler registered in this worker, under exactly this name?\n\n"+
		"The full contents of the message body was:\n"+dump(r.Args)+" "+dump(r.Kwargs)+"\n\n"+
		"The full contents of the message headers:\n"+dump(r.Headers)+"\n\n"+
		"The queue was:\n"+r.Queue, taskAttrs(r.Task)...)
}

// logRefused tells why a message was dropped, with all that is known of it.
func (w *Worker) logRefused(r *request, reason string, err error) {
	attrs := []any{slog.String("reason", reason), slog.String("queue", r.Queue)}
	about := ""
	if r.Task != nil {
		attrs = append(attrs, taskAttrs(r.Task)...)
		attrs = append(attrs, slog.String("content_type", r.ContentType))
		about = " (task " + nameAndID(r.Task) + ", type " + r.ContentType + ")"
	}
	const discarded = "\nThe message has been ignored and discarded.\n\nThe full contents of the message was:\n"
	switch reason {
	case ReasonUnknown:
		w.log.Warn("Received and deleted unknown message.  Wrong destination?!?\n\n"+
			"The full contents of the message was: "+dump(r.raw), attrs...)
	case ReasonUndecodable:
		w.log.Log(context.Background(), LevelCritical,
			"Can't decode message body: "+err.Error()+about+"\n\nbody: "+dump(r.raw), attrs...)
	default:
		w.log.Error("Received invalid task message: "+err.Error()+about+discarded+dump(r.raw), attrs...)
	}
}

// dumpLimit is how much of a message a log line shows; Celery's is the same.
const dumpLimit = 1024

func dump(raw []byte) string {
	size := " (" + strconv.Itoa(len(raw)) + "b)"
	if len(raw) > dumpLimit {
		return strings.ToValidUTF8(string(raw[:dumpLimit]), "\uFFFD") + "..." + size
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD") + size
}

func quoted(s string) []byte { return strconv.AppendQuoteToASCII(nil, s) }
