package sentrytasks

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

const (
	enqueuedHeader = "sentry-task-enqueued-time" // Unix time in seconds
	// innerHeaders is a header that has all custom ones once more: there Python's SDK looks for them, as Celery 4 gave tasks no others.
	innerHeaders = "headers"
)

// received is a header of Sentry's that has come with a message; "": it has none.
func received(task *protocol.Task, name string) string {
	if inner := pyjson.Member(pyjson.Member(task.Headers, innerHeaders), name); pyjson.Kind(inner) == '"' {
		return pyjson.Text(inner)
	}
	return task.Header(name)
}

// receivedBaggage is the header baggage; "" if it cannot be read, which would be a trace without an id.
func receivedBaggage(task *protocol.Task) string {
	baggage := received(task, sentry.SentryBaggageHeader)
	if _, err := sentry.DynamicSamplingContextFromHeader([]byte(baggage)); err != nil {
		return ""
	}
	return baggage
}

// publish makes the spans of what is about to be published, which end at once: messages are published many at a time. The
// message carries the trace on.
func (p *reporter) publish(ctx context.Context, task *protocol.Task) {
	hub := p.base(ctx)
	if !hub.Client().IsEnabled() {
		return
	}
	r, parent := runOf(ctx), sentry.SpanFromContext(ctx)
	if r != nil && task.ID == r.req.ID { // another run of the same task: in Python the handler itself publishes it
		if how := r.returned.Load(); how != nil {
			parent = how.process
		}
	}
	switch {
	case r != nil && r.finished.Load(): // too late for spans
		p.carryOn(task, r.transaction.ToSentryTrace(), r.transaction.ToBaggage())
	case !traces(hub):
		p.carryOn(task, hub.GetTraceparent(), hub.GetBaggage())
	case parent != nil:
		submit := parent.StartChild(opSubmit, sentry.WithDescription(task.Name), sentry.WithSpanOrigin(origin))
		p.carryOn(task, submit.ToSentryTrace(), parent.GetTransaction().ToBaggage())
		publish := submit.StartChild(opPublish, sentry.WithDescription(task.Name), sentry.WithSpanOrigin(origin))
		p.message(publish, task)
		publish.Finish()
		submit.Finish()
	default:
		p.carryOn(task, "", "") // there is no transaction: nor is there a trace, as in Python
	}
}

// carryOn writes a trace into the headers of a message, and when that was; "": there is none.
func (p *reporter) carryOn(task *protocol.Task, trace, baggage string) {
	if p.keepsTraces {
		return
	}
	custom := task.CustomHeaders()
	now := strconv.AppendFloat(nil, float64(time.Now().UnixMicro())/1e6, 'f', 6, 64)
	set := map[string][]byte{enqueuedHeader: now}
	if trace != "" {
		set[sentry.SentryTraceHeader] = pyjson.AppendString(nil, trace)
		if baggage = joined(baggage, task.Header(sentry.SentryBaggageHeader)); baggage != "" {
			set[sentry.SentryBaggageHeader] = pyjson.AppendString(nil, baggage)
		}
		inner := []byte{'{'}
		for name, value := range pyjson.Members(custom[innerHeaders]) {
			if set[name] == nil {
				inner = append(pyjson.AppendKey(inner, name), value...)
			}
		}
		for name, value := range custom {
			if name != innerHeaders && set[name] == nil && pyjson.Member(custom[innerHeaders], name) == nil {
				inner = append(pyjson.AppendKey(inner, name), value...)
			}
		}
		set[innerHeaders] = append(with(inner, set), '}')
	}
	all := []byte{'{'}
	for name, value := range pyjson.Members(task.Headers) {
		if set[name] == nil {
			all = append(pyjson.AppendKey(all, name), value...)
		}
	}
	task.Headers = append(with(all, set), '}')
}

// with adds members to a JSON object that is being written.
func with(object []byte, members map[string][]byte) []byte {
	for name, value := range members {
		object = append(pyjson.AppendKey(object, name), value...)
	}
	return object
}

// joined is the baggage of a trace together with what the message has as baggage already: that counts first.
func joined(baggage, before string) string {
	if before == "" {
		return baggage
	}
	members := strings.Split(before, ",")
	has := map[string]bool{}
	for _, member := range members {
		has[keyOf(member)] = true
	}
	for member := range strings.SplitSeq(baggage, ",") {
		if member != "" && !has[keyOf(member)] {
			members = append(members, member)
		}
	}
	return strings.Join(members, ",")
}

func keyOf(member string) string {
	key, _, _ := strings.Cut(member, "=")
	return strings.TrimSpace(key)
}
