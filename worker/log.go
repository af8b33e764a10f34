package worker

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/apium/apium/broker"
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
	repr := end.repr
	if repr == "" {
		repr = protocol.SafeRepr(end.result)
	}
	w.log.Info("Task "+nameAndID(r.Task)+" succeeded in "+pythonSeconds(end.runtime.Seconds())+"s: "+repr, taskAttrs(r.Task)...)
}

// pythonSeconds writes a float as Python's str does: never without a point.
func pythonSeconds(s float64) string {
	text := strconv.FormatFloat(s, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// logFailed logs a failure. Expected errors are no errors.
func (w *Worker) logFailed(r *request, err error, exc *protocol.Exception, repr string) {
	attrs := taskAttrs(r.Task)
	if r.task.throws != nil && r.task.throws(err) {
		w.log.Info("Task "+nameAndID(r.Task)+" raised expected: "+repr, attrs...)
		return
	}
	if exc.Traceback != "" {
		attrs = append(attrs, slog.String(TracebackKey, exc.Traceback))
	}
	w.log.Error("Task "+nameAndID(r.Task)+" raised unexpected: "+repr, attrs...)
}

// logHandlerError is Celery's line for a task whose failure came from outside of it.
func (w *Worker) logHandlerError(r *request, exc *protocol.Exception, stack string) {
	attrs := taskAttrs(r.Task)
	if stack != "" {
		attrs = append(attrs, slog.String(TracebackKey, stack))
	}
	w.log.Error("Task handler raised error: "+exc.Repr(), attrs...)
}

func (w *Worker) logRetry(r *request, reason string) {
	if w.enabled(levelInfo) {
		w.log.Info("Task "+nameAndID(r.Task)+" retry: "+reason, taskAttrs(r.Task)...)
	}
}

func (w *Worker) logIgnored(r *request) {
	if w.enabled(levelInfo) {
		w.log.Info("Task "+nameAndID(r.Task)+" ignored", taskAttrs(r.Task)...)
	}
}

func (w *Worker) logRejected(r *request, back bool, reason string) {
	requeue := "False"
	if back {
		requeue = "True"
	}
	w.log.Warn("Task "+nameAndID(r.Task)+" reject requeue="+requeue+": "+reason, taskAttrs(r.Task)...)
}

func (w *Worker) logAccepted(r *request) {
	if w.enabled(slog.LevelDebug) {
		w.log.Debug("Task accepted: "+nameAndID(r.Task)+" pid:"+strconv.Itoa(os.Getpid()), taskAttrs(r.Task)...)
	}
}

func (w *Worker) logDiscarded(r *request) {
	if w.enabled(levelInfo) {
		w.log.Info("Discarding revoked task: "+nameAndID(r.Task), taskAttrs(r.Task)...)
	}
}

func (w *Worker) logDiscardedByStamp(r *request, header, value string) {
	if w.enabled(levelInfo) {
		w.log.Info("Discarding revoked task: "+nameAndID(r.Task)+" (revoked by header: {'"+header+"': "+
			protocol.SafeRepr([]byte(value))+"})", taskAttrs(r.Task)...)
	}
}

// requestAttrs are the attributes of a line about a message that may be no task.
func requestAttrs(r *request) []any {
	attrs := []any{slog.String("queue", r.Queue)}
	if r.Task != nil {
		attrs = append(attrs, taskAttrs(r.Task)...)
	}
	return attrs
}

// logUnpublished tells of a message that is gone because it cannot be published: kombu
// drops those that no queue is bound for without a word.
func (w *Worker) logUnpublished(refused *broker.RefusedError) {
	w.log.Error("Cannot publish a message: "+refused.Error()+"\nThe message has been discarded: "+dump(refused.Message),
		slog.String("exchange", refused.Exchange), slog.String("routing_key", refused.RoutingKey))
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
