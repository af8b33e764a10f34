package oteltasks

import (
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// ofRun are the attributes that a task's request has in Python.
func ofRun(task *protocol.Task) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		attribute.String("messaging.message.id", task.ID),
		attribute.String("celery.delivery_info", deliveryInfo(task)),
	}
	for key, text := range map[string]string{
		"messaging.conversation_id": task.CorrelationID,
		"messaging.destination":     task.RoutingKey,
		"celery.reply_to":           task.ReplyTo,
		"celery.hostname":           task.Origin, // of the publisher, as in Python
		"celery.eta":                moment(task.ETA),
		"celery.expires":            moment(task.Expires),
	} {
		if text != "" {
			attributes = append(attributes, attribute.String(key, text))
		}
	}
	if task.Retries > 0 {
		attributes = append(attributes, attribute.Int("celery.retries", task.Retries))
	}
	return append(attributes, timeLimits(task)...)
}

// deliveryInfo is Python's repr of request.delivery_info.
func deliveryInfo(task *protocol.Task) string {
	info := pyjson.AppendString(pyjson.AppendKey([]byte{'{'}, "exchange"), task.Exchange)
	info = pyjson.AppendString(pyjson.AppendKey(info, "routing_key"), task.RoutingKey)
	info = strconv.AppendInt(pyjson.AppendKey(info, "priority"), int64(task.Priority), 10)
	info = strconv.AppendBool(pyjson.AppendKey(info, "redelivered"), task.Redelivered)
	return protocol.Repr(append(info, '}'))
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return protocol.FormatTime(t)
}

// timeLimits is the hard limit and the soft one, in seconds: numbers if there are both.
func timeLimits(task *protocol.Task) []attribute.KeyValue {
	const key = "celery.timelimit"
	hard, soft := task.TimeLimit, task.SoftTimeLimit
	switch {
	case hard == 0 && soft == 0:
		return nil
	case hard == 0 || soft == 0:
		return []attribute.KeyValue{attribute.StringSlice(key, []string{seconds(hard), seconds(soft)})}
	case hard%time.Second != 0 || soft%time.Second != 0:
		return []attribute.KeyValue{attribute.Float64Slice(key, []float64{hard.Seconds(), soft.Seconds()})}
	}
	return []attribute.KeyValue{attribute.Int64Slice(key, []int64{int64(hard / time.Second), int64(soft / time.Second)})}
}

func seconds(limit time.Duration) string {
	if limit == 0 {
		return ""
	}
	return strconv.FormatFloat(limit.Seconds(), 'f', -1, 64)
}
