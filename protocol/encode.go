package protocol

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// Publication says how the message of a task is made. The zero value works.
type Publication struct {
	// Expiration is the time from now to Task.Expires, which Celery also writes as a
	// property that Redis ignores; 0: not written.
	Expiration time.Duration
	// Properties are further properties, a raw JSON object: options of the call that
	// Celery does not know. nil: none.
	Properties []byte
	// DeliveryMode is 1 for a message that need not survive the broker, else 2. Redis
	// does not care. 0: 2.
	DeliveryMode int
	Format       Format // of the body
}

// EncodeTask writes a protocol 2 message as the producer of Celery 5.7 does: the same
// fields in the same order and spacing.
//
// Name, ID and RoutingKey (the queue; with an exchange it may be empty) are required. Left empty, RootID and CorrelationID
// are the ID, Lang is "go", Args and Kwargs are empty, and ArgsRepr and KwargsRepr are
// computed. The raw fields must be JSON. Custom headers, those of t.Headers that have no
// field in Task, are written behind the others. The body is written in p.Format, whatever
// the task came in; an error is about a value that its serializer does not have.
func EncodeTask(t *Task, p Publication) (Message, error) {
	switch {
	case t.Name == "":
		return Message{}, errors.New("encoding a task: it has no name")
	case t.ID == "":
		return Message{}, fmt.Errorf("encoding task %s: it has no id", t.Name)
	case t.RoutingKey == "" && t.Exchange == "":
		return Message{}, fmt.Errorf("encoding task %s: it has no routing key", t.Name)
	}
	body, err := p.Format.encode(t.Inset.fill(t.appendBody(make([]byte, 0, t.bodySize()))))
	if err != nil {
		return Message{}, fmt.Errorf("encoding task %s: %w", t.Name, err)
	}
	headers := t.appendHeaders(append(make([]byte, 0, 1024+len(t.Headers)), '{'))
	if p.Format.Compression != "" {
		headers = append(headers, `, "compression": `...)
		headers = pyjson.AppendString(headers, p.Format.Compression)
	}
	return Message{
		Headers: append(headers, '}'), Body: body,
		ContentType: p.Format.contentType(), ContentEncoding: p.Format.contentEncoding(),
		Properties: Properties{
			CorrelationID: cmp.Or(t.CorrelationID, t.ID), ReplyTo: t.ReplyTo, Others: p.Properties,
			DeliveryMode: cmp.Or(p.DeliveryMode, 2), Expiration: p.Expiration, Priority: t.Priority, NoPriority: t.NoPriority,
		},
	}, nil
}

// NewID makes a random UUID4 in text form, as Celery names tasks and deliveries.
func NewID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], u[0:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:36], u[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// bodySize is how many bytes the body has at most.
func (t *Task) bodySize() int {
	next := &t.Embed
	return 128 + len(t.Args) + len(t.Kwargs) + len(next.Callbacks) + len(next.Errbacks) + len(next.Chain) + len(next.Chord)
}

func (t *Task) appendBody(dst []byte) []byte {
	dst = append(dst, '[')
	dst = appendRaw(dst, t.Args, "[]")
	dst = appendRaw(pyjson.AppendComma(dst), t.Kwargs, "{}")
	dst = append(dst, `, {"callbacks": `...)
	dst = appendRaw(dst, t.Embed.Callbacks, "null")
	dst = append(dst, `, "errbacks": `...)
	dst = appendRaw(dst, t.Embed.Errbacks, "null")
	dst = append(dst, `, "chain": `...)
	dst = appendRaw(dst, t.Embed.Chain, "null")
	dst = append(dst, `, "chord": `...)
	dst = appendRaw(dst, t.Embed.Chord, "null")
	return append(dst, "}]"...)
}

func (t *Task) appendHeaders(dst []byte) []byte {
	dst = append(dst, `"lang": `...)
	dst = pyjson.AppendString(dst, cmp.Or(t.Lang, "go"))
	dst = append(dst, `, "task": `...)
	dst = pyjson.AppendString(dst, t.Name)
	dst = append(dst, `, "id": `...)
	dst = pyjson.AppendString(dst, t.ID)
	dst = append(dst, `, "shadow": `...)
	dst = appendText(dst, t.Shadow)
	dst = append(dst, `, "eta": `...)
	dst = appendDate(dst, t.ETA)
	dst = append(dst, `, "expires": `...)
	dst = appendDate(dst, t.Expires)
	dst = append(dst, `, "group": `...)
	dst = appendText(dst, t.GroupID)
	dst = append(dst, `, "group_index": `...)
	if t.GroupIndex == nil {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, int64(*t.GroupIndex), 10)
	}
	dst = append(dst, `, "retries": `...)
	dst = strconv.AppendInt(dst, int64(t.Retries), 10)
	dst = append(dst, `, "timelimit": [`...)
	dst = appendSeconds(dst, t.TimeLimit)
	dst = appendSeconds(pyjson.AppendComma(dst), t.SoftTimeLimit)
	dst = append(dst, `], "root_id": `...)
	dst = pyjson.AppendString(dst, cmp.Or(t.RootID, t.ID))
	dst = append(dst, `, "parent_id": `...)
	dst = appendText(dst, t.ParentID)
	dst = append(dst, `, "argsrepr": `...)
	dst = pyjson.AppendString(dst, t.ShownArgs())
	dst = append(dst, `, "kwargsrepr": `...)
	dst = pyjson.AppendString(dst, t.ShownKwargs())
	dst = append(dst, `, "origin": `...)
	dst = pyjson.AppendString(dst, t.Origin)
	dst = append(dst, `, "ignore_result": `...)
	if t.IgnoreResult == nil {
		dst = append(dst, "null"...) // as send_task does: the task's own setting counts
	} else {
		dst = strconv.AppendBool(dst, *t.IgnoreResult)
	}
	dst = append(dst, `, "replaced_task_nesting": `...)
	dst = strconv.AppendInt(dst, int64(t.ReplacedTaskNesting), 10)
	dst = append(dst, `, "stamped_headers": `...)
	if t.StampedHeaders == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendStrings(dst, t.StampedHeaders)
	}
	dst = append(dst, `, "stamps": `...)
	dst = appendRaw(dst, t.Stamps, "{}")
	return t.appendCustomHeaders(dst)
}

// protocolHeaders are the headers that a Task has fields for, and the one that belongs to
// its old body.
var protocolHeaders = map[string]bool{
	"lang": true, "task": true, "id": true, "shadow": true, "eta": true, "expires": true,
	"group": true, "group_index": true, "retries": true, "timelimit": true,
	"root_id": true, "parent_id": true, "argsrepr": true, "kwargsrepr": true,
	"origin": true, "ignore_result": true, "replaced_task_nesting": true,
	"stamped_headers": true, "stamps": true,
	"compression": true,
}

func (t *Task) appendCustomHeaders(dst []byte) []byte {
	s := pyjson.NewScanner(t.Headers)
	if !s.Enter('{') {
		return dst
	}
	for s.Next() {
		if key := s.Key(); !protocolHeaders[string(key)] {
			dst = append(pyjson.AppendKey(dst, string(key)), s.Value()...)
		}
	}
	return dst
}

// ShownArgs is the text of the arguments for monitors: the header's; without one, as in
// protocol 1, it is made now.
func (t *Task) ShownArgs() string {
	if t.ArgsRepr != "" || t.Args == nil {
		return cmp.Or(t.ArgsRepr, "()")
	}
	return argsRepr(t.Args, t.Inset)
}

// ShownKwargs is the same for the keyword arguments.
func (t *Task) ShownKwargs() string {
	if t.KwargsRepr != "" || t.Kwargs == nil {
		return cmp.Or(t.KwargsRepr, "{}")
	}
	return KwargsRepr(t.Kwargs)
}

func appendDate(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = AppendTime(dst, t)
	return append(dst, '"')
}

// appendSeconds writes whole seconds as an int, as Python callers give them.
func appendSeconds(dst []byte, d time.Duration) []byte {
	switch {
	case d <= 0:
		return append(dst, "null"...)
	case d%time.Second == 0:
		return strconv.AppendInt(dst, int64(d/time.Second), 10)
	default:
		return strconv.AppendFloat(dst, d.Seconds(), 'f', -1, 64)
	}
}

// Message is a task that was received as a message of protocol 2: with its body as it came, in
// whatever serializer, while that is not read, and else as EncodeTask writes it.
func (t *Task) Message() (Message, error) {
	m, err := EncodeTask(t, Publication{})
	if err != nil || !t.body.unread {
		return m, err
	}
	m.ContentType, m.Body = t.ContentType, t.body.text
	if t.body.compression != "" {
		m.Headers = append(m.Headers[:len(m.Headers)-1], `, "compression": `...)
		m.Headers = append(pyjson.AppendString(m.Headers, t.body.compression), '}')
	}
	if t.body.unwrap != nil {
		m.Body, err = t.body.unwrap(m.Body)
	}
	return m, err
}
