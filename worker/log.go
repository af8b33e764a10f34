package worker

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// LevelCritical is Python's logging.CRITICAL, one step above slog.LevelError.
const LevelCritical = logline.LevelCritical

const levelInfo = slog.LevelInfo

// TracebackKey is the attribute that carries a traceback, which Python's logging
// prints on the lines after the message.
const TracebackKey = "traceback"

// taskLog writes the worker's log: Celery's lines about tasks, and others.
type taskLog struct{ *slog.Logger }

// on tells whether lines of a level are written: making some of them costs something.
func (l taskLog) on(level slog.Level) bool { return l.Enabled(context.Background(), level) }

func nameAndID(t *protocol.Task) string { return t.DisplayName() + "[" + t.ID + "]" }

// task writes a line about a message: the text is Celery's, event says the same in constant
// words for logs in JSON, where the attributes hold what the text tells besides.
func (l taskLog) task(level slog.Level, r *request, event, text string, more ...slog.Attr) {
	attrs := make([]slog.Attr, 0, 10) // stays on the stack
	attrs = append(attrs, logline.Event(event), slog.String("queue", r.Queue))
	if r.Task != nil {
		attrs = append(attrs, slog.String("task_name", r.DisplayName()), slog.String("task_id", r.ID))
	}
	l.LogAttrs(context.Background(), level, text, append(attrs, more...)...)
}

// taskError is task for an error, which follows the text.
func (l taskLog) taskError(r *request, event, text string, err error) {
	l.task(slog.LevelError, r, event, text+": "+err.Error(), logline.Err(err))
}

// stateAttr is the attribute of what a task has come to.
func stateAttr(s protocol.State) slog.Attr { return slog.String("state", string(s)) }

// runtimeOf is the attribute of how long a handler has run, in seconds; none if it has not.
func runtimeOf(r *request) slog.Attr {
	if r.started.IsZero() {
		return slog.Attr{}
	}
	return slog.Float64("runtime", time.Since(r.started).Seconds())
}

func (l taskLog) received(r *request) {
	if l.on(levelInfo) {
		l.task(levelInfo, r, "Task received", "Task "+nameAndID(r.Task)+" received")
	}
}

func (l taskLog) succeeded(r *request, end *outcome) {
	if !l.on(levelInfo) {
		return
	}
	repr := end.repr
	if repr == "" {
		repr = protocol.SafeRepr(end.result)
	}
	runtime := end.runtime.Seconds()
	l.task(levelInfo, r, "Task succeeded", "Task "+nameAndID(r.Task)+" succeeded in "+pythonSeconds(runtime)+"s: "+repr,
		stateAttr(protocol.Success), slog.Float64("runtime", runtime), slog.String("result", repr))
}

// pythonSeconds writes a float as Python's str does: never without a point.
func pythonSeconds(s float64) string {
	text := strconv.FormatFloat(s, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// failed logs a failure. Expected errors are no errors.
func (l taskLog) failed(r *request, err error, exc *protocol.Exception, repr string) {
	attrs := []slog.Attr{stateAttr(protocol.Failure), runtimeOf(r), slog.String("exception", repr)}
	if r.task.throws != nil && r.task.throws(err) {
		l.task(levelInfo, r, "Task raised expected", "Task "+nameAndID(r.Task)+" raised expected: "+repr, attrs...)
		return
	}
	if exc.Traceback != "" {
		attrs = append(attrs, slog.String(TracebackKey, exc.Traceback))
	}
	l.task(slog.LevelError, r, "Task raised unexpected", "Task "+nameAndID(r.Task)+" raised unexpected: "+repr, attrs...)
}

// handlerError is Celery's line for a task whose failure came from outside of it.
func (l taskLog) handlerError(r *request, exc *protocol.Exception, stack string) {
	attrs := []slog.Attr{stateAttr(protocol.Failure), runtimeOf(r), slog.String("exception", exc.Repr())}
	if stack != "" {
		attrs = append(attrs, slog.String(TracebackKey, stack))
	}
	l.task(slog.LevelError, r, "Task handler raised error", "Task handler raised error: "+exc.Repr(), attrs...)
}

func (l taskLog) retry(r *request, reason string) {
	if l.on(levelInfo) {
		l.task(levelInfo, r, "Task retry", "Task "+nameAndID(r.Task)+" retry: "+reason,
			stateAttr(protocol.Retry), runtimeOf(r), slog.String("reason", reason))
	}
}

func (l taskLog) ignored(r *request) {
	if l.on(levelInfo) {
		l.task(levelInfo, r, "Task ignored", "Task "+nameAndID(r.Task)+" ignored", stateAttr(protocol.Ignored), runtimeOf(r))
	}
}

func (l taskLog) rejected(r *request, back bool, reason string) {
	requeue := "False"
	if back {
		requeue = "True"
	}
	l.task(slog.LevelWarn, r, "Task reject", "Task "+nameAndID(r.Task)+" reject requeue="+requeue+": "+reason,
		stateAttr(protocol.Rejected), runtimeOf(r), slog.Bool("requeue", back), slog.String("reason", reason))
}

func (l taskLog) accepted(r *request, pid int) {
	if l.on(slog.LevelDebug) {
		l.task(slog.LevelDebug, r, "Task accepted", "Task accepted: "+nameAndID(r.Task)+" pid:"+strconv.Itoa(pid))
	}
}

func (l taskLog) discarded(r *request) {
	if l.on(levelInfo) {
		l.task(levelInfo, r, "Discarding revoked task", "Discarding revoked task: "+nameAndID(r.Task), stateAttr(protocol.Revoked))
	}
}

func (l taskLog) discardedByStamp(r *request, header, value string) {
	if l.on(levelInfo) {
		by := "{'" + header + "': " + protocol.SafeRepr([]byte(value)) + "}"
		l.task(levelInfo, r, "Discarding revoked task", "Discarding revoked task: "+nameAndID(r.Task)+" (revoked by header: "+by+")",
			stateAttr(protocol.Revoked), slog.String("header", by))
	}
}

// forwarded tells of a task that nobody registered here and that goes to others.
func (l taskLog) forwarded(r *request, queue string) {
	if l.on(levelInfo) {
		l.task(levelInfo, r, "Task forwarded", "Forwarding task "+nameAndID(r.Task)+", "+whyNotHere(r)+", to queue "+queue,
			slog.String("to", queue))
	}
}

// unpublished tells of a message that is gone because it cannot be published: kombu
// drops those that no queue is bound for without a word.
func (l taskLog) unpublished(refused *broker.RefusedError) {
	message := dump(refused.Message.Text())
	l.Error("Cannot publish a message: "+logline.Escape(refused.Error())+"\nThe message has been discarded: "+message,
		logline.LinesKey, true, logline.EventKey, "Cannot publish a message", "error", refused, "message", message,
		"exchange", refused.Exchange, "routing_key", refused.RoutingKey)
}

// unknown is Celery's line for a task nobody registered.
func (l taskLog) unknown(r *request) {
	l.task(slog.LevelError, r, "Received unregistered task", "Received unregistered task of type "+protocol.SafeRepr(quoted(r.Name))+".\n"+
		"The message has been ignored and discarded.\n\n"+
		"Is its handler registered in this worker, under exactly this name?\n\n"+
		"The full contents of the message body was:\n"+dump(r.Args)+" "+dump(r.Kwargs)+"\n\n"+
		"The full contents of the message headers:\n"+dump(r.Headers)+"\n\n"+
		"The queue was:\n"+logline.Escape(r.Queue), logline.Lines(), stateAttr(protocol.Failure), slog.String("message", dump(r.content.Text())))
}

// refused tells why a message was dropped, with all that is known of it.
func (l taskLog) refused(r *request, reason string, err error) {
	attrs := []slog.Attr{logline.Lines(), slog.String("reason", reason), slog.String("message", dump(r.content.Text()))}
	why := ""
	if err != nil {
		attrs, why = append(attrs, logline.Err(err)), logline.Escape(err.Error())
	}
	about := ""
	if r.Task != nil {
		attrs = append(attrs, slog.String("content_type", r.ContentType))
		about = logline.Escape(" (task " + nameAndID(r.Task) + ", type " + r.ContentType + ")")
	}
	const discarded = "\nThe message has been ignored and discarded.\n\nThe full contents of the message was:\n"
	switch reason {
	case ReasonUnknown:
		l.task(slog.LevelWarn, r, "Received and deleted unknown message", "Received and deleted unknown message.  Wrong destination?!?\n\n"+
			"The full contents of the message was: "+dump(r.content.Text()), attrs...)
	case ReasonUndecodable:
		l.task(LevelCritical, r, "Can't decode message body",
			"Can't decode message body: "+why+about+"\n\nbody: "+dump(r.content.Text()), attrs...)
	default:
		l.task(slog.LevelError, r, "Received invalid task message",
			"Received invalid task message: "+why+about+discarded+dump(r.content.Text()), attrs...)
	}
}

// dumpLimit is how much of a message a log line shows; Celery's is the same.
const dumpLimit = 1024

func dump(raw []byte) string {
	size := " (" + strconv.Itoa(len(raw)) + "b)"
	if len(raw) > dumpLimit {
		return logline.Escape(strings.ToValidUTF8(string(raw[:dumpLimit]), "\uFFFD")) + "..." + size
	}
	return logline.Escape(strings.ToValidUTF8(string(raw), "\uFFFD")) + size
}

func quoted(s string) []byte {
	quoted, _ := pyjson.Append(nil, s) // a string always has a JSON form
	return quoted
}
