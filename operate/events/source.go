package events

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// DefaultExchange is Celery's event_exchange.
const DefaultExchange = "celeryev"

// source is who sends events: a worker or a producer.
type source struct {
	exchange string
	headers  []byte // of its messages

	// What is the same in all its events, before and after the offset of its zone.
	before, after []byte
}

func newSource(hostname, exchange string) *source {
	if exchange == "" {
		exchange = DefaultExchange
	}
	name := pyjson.AppendString(nil, hostname)
	return &source{
		exchange: exchange, headers: slices.Concat([]byte(`{"hostname": `), name, []byte{'}'}),
		before: slices.Concat([]byte(`{"hostname": `), name, []byte(`, "utcoffset": `)),
		after:  []byte(`, "pid": ` + strconv.Itoa(os.Getpid()) + `, "clock": `),
	}
}

// producerName is how Celery names a process that sends tasks (anon_nodename).
func producerName(host string) string { return "gen" + strconv.Itoa(os.Getpid()) + "@" + host }

// begin writes what all events begin with.
func (s *source) begin(dst fields, now time.Time, clock int64) fields {
	dst = strconv.AppendInt(append(dst, s.before...), utcOffset(now), 10)
	return strconv.AppendInt(append(dst, s.after...), clock, 10)
}

// end writes what all events end with.
func end(dst fields, kind string, now time.Time) fields {
	dst = strconv.AppendInt(dst.key("timestamp"), now.Unix(), 10)
	point := len(dst)
	dst = strconv.AppendInt(dst, 1_000_000+int64(now.Nanosecond())/1000, 10) // with the zeros in front
	dst[point] = '.'
	return append(dst.text("type", kind), '}')
}

// utcOffset is the hours west of UTC, rounded down (celery.utils.time.utcoffset).
func utcOffset(now time.Time) int64 {
	_, east := now.Zone()
	hours, rest := -east/3600, -east%3600
	if rest < 0 {
		hours--
	}
	return int64(hours)
}

// message makes the message of an event, or of a list of them.
func (s *source) message(routingKey string, body []byte) broker.Publication {
	return broker.Publication{
		Exchange: s.exchange, ExchangeType: broker.Fanout, RoutingKey: routingKey,
		Message: protocol.Message{
			Headers: s.headers, Body: body, ContentType: protocol.ContentTypeJSON, ContentEncoding: "utf-8",
			Properties: protocol.Properties{DeliveryMode: 1},
		},
	}
}

// routingKey is where events of a type go.
func routingKey(kind string) string { return strings.ReplaceAll(kind, "-", ".") }
