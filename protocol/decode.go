package protocol

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

// Decoder reads task messages. The zero value accepts JSON and takes dates without an
// offset as UTC, as Celery does.
type Decoder struct {
	Accept Accept
	// Location is for protocol 1 messages with "utc": false, which Celery 3.1 sends
	// with enable_utc off: their dates are in the application's time zone, without
	// saying so. nil is UTC, which is what Celery 4 and later take them for.
	Location *time.Location
	// Serializer returns the one of a content type besides JSON, or nil: package
	// serializer's ByContentType. Without it there is only JSON.
	Serializer func(contentType string) Serializer
	// Decompress unpacks a body with the method that its compression header names, and
	// fails if it becomes longer than limit bytes: package compression's Decompress.
	// Without it compressed messages are errors.
	Decompress func(method string, body []byte, limit int) ([]byte, error)
	// MaxDecompressed is how many bytes a compressed body may become. 0: 200 times its
	// size and 16 MiB, at most 256 MiB.
	MaxDecompressed int
}

// Decode reads a task message: its headers, and then its body.
//
// The error is a *DecodeError, *ContentDisallowedError, *InvalidTaskError or
// ErrUnknownMessage, or two of them joined. With it comes a task holding what could be read
// before, which has at least a name if the headers have one, and else nil. A Python worker looks
// for the task's name in its registry first: NotRegistered wins over the errors here.
func (d *Decoder) Decode(r *Received) (*Task, error) {
	t, err := d.DecodeHeaders(r)
	if err == nil {
		err = d.DecodeBody(t)
	}
	return t, err
}

// DecodeHeaders reads what a task message says without its body, so that nothing is spent on
// the arguments of a task that is not to be run here. It returns as [Decoder.Decode] does; the
// task shares the memory of the message, which must not change as long as it is in use.
//
// The body is read, too, where the headers do not say all there is to know about the task:
// that of protocol 1, and of whatever Celery has not written.
func (d *Decoder) DecodeHeaders(r *Received) (*Task, error) {
	return d.DecodeHeadersInto(new(Task), r)
}

// DecodeHeadersInto is [Decoder.DecodeHeaders] for who has room for the task: if one is returned, it is t.
func (d *Decoder) DecodeHeadersInto(t *Task, r *Received) (*Task, error) {
	*t = Task{Protocol: 2}
	t.fromReceived(r)
	if r.Err != nil {
		return t.orNil(), r.Err
	}
	h := &r.Headers
	isV2 := h.task != nil
	if t.ContentType == "" && !isV2 {
		return nil, ErrUnknownMessage // raw bytes to kombu, and so no protocol 1 body
	}
	disallowed := d.disallowed(t)
	whole := t.ID == "" || h.eta == nil || h.expires == nil
	if disallowed != nil && t.ID == "" {
		return t.orNil(), disallowed
	}
	t.body = wrapped{unread: true, text: r.Body, unwrap: r.Unwrap, compression: string(h.compression)}
	if whole && disallowed == nil {
		return d.decodeWhole(h, t)
	}
	err := h.fill(t, time.UTC)
	if disallowed != nil { // the headers are read all the same: it concerns who reads the body
		err = errors.Join(disallowed, err)
	}
	return t, err
}

// DecodeTold is [Decoder.DecodeHeaders] of a message whose body has the headers, as that of protocol 1,
// and cannot be read here. body is what somebody else has read, as JSON. Its arguments count for nothing:
// to read the body is still to be tried, by who needs them.
func (d *Decoder) DecodeTold(r *Received, body []byte) (*Task, error) {
	t := &Task{Protocol: 2}
	t.fromReceived(r)
	if r.Err != nil {
		return t.orNil(), r.Err
	}
	if pyjson.Kind(body) != '{' {
		return t.orNil(), ErrUnknownMessage
	}
	t, err := d.decodeV1(&r.Headers, t, body)
	if t != nil {
		t.Args, t.Kwargs, t.told = nil, nil, true
		t.body = wrapped{unread: true, text: r.Body, unwrap: r.Unwrap, compression: string(r.Headers.compression)}
	}
	return t, err
}

// OfBody tells of an error of [Decoder.DecodeHeaders] that it concerns the body alone. If there
// is a task with an ID, all that its headers say was read: whoever can read the body knows enough.
func OfBody(err error) bool {
	var decode *DecodeError
	switch {
	case errors.As(err, new(*InvalidTaskError)):
		return false
	case errors.As(err, &decode):
		return decode.Field == "body" || decode.Field == "content-type"
	}
	return errors.As(err, new(*ContentDisallowedError))
}

// disallowed returns an error for a body that is not to be read.
func (d *Decoder) disallowed(t *Task) error {
	if t.ContentType == "" || d.Accept.Accepts(t.ContentType) {
		return nil
	}
	return &ContentDisallowedError{Task: t.Name, ID: t.ID, ContentType: t.ContentType}
}

// DecodeBody reads the body of a task whose headers were read: its arguments, and what runs
// after it. It does nothing if that has been done.
func (d *Decoder) DecodeBody(t *Task) error {
	if !t.body.unread {
		return nil
	}
	if err := d.disallowed(t); err != nil {
		return err
	}
	body, err := t.content(d)
	if err != nil {
		return err
	}
	if pyjson.Kind(body) == '{' {
		var h Headers
		s := pyjson.NewScanner(t.Headers)
		h.Read(&s, t.Headers)
		_, err := d.decodeV1(&h, t, body)
		return err
	}
	return t.decodeBody(body)
}

// decodeWhole reads the body at once, and the headers after it.
func (d *Decoder) decodeWhole(h *Headers, t *Task) (*Task, error) {
	body, err := t.content(d)
	switch {
	case err != nil && (h.task == nil || t.ID == ""):
		return t.orNil(), err
	case err == nil && pyjson.Kind(body) == '{':
		return d.decodeV1(h, t, body)
	case h.task == nil:
		return nil, ErrUnknownMessage
	case t.ID == "":
		return t, &DecodeError{"headers.id", errMissing}
	case err == nil:
		err = t.decodeBody(body)
	}
	return t, errors.Join(err, h.fill(t, time.UTC))
}

// content takes the body, which is not needed in its old form any more.
func (t *Task) content(d *Decoder) ([]byte, error) {
	body, err := d.content(&t.body, t.ContentType)
	t.body = wrapped{}
	return body, err
}

func (t *Task) orNil() *Task {
	if t.Name == "" {
		return nil
	}
	return t
}

// fromReceived sets everything that needs no decoding.
func (t *Task) fromReceived(r *Received) {
	x := texts{parts: len(r.Headers.raw)+len(r.Properties)+len(r.Body) <= smallMessage}
	x.add(&t.DeliveryTag, r.DeliveryTag)
	x.add(&t.Exchange, r.Exchange)
	x.add(&t.RoutingKey, r.RoutingKey)
	x.add(&t.CorrelationID, r.CorrelationID)
	x.add(&t.ReplyTo, r.ReplyTo)
	r.Headers.names(t, &x)
	x.store()
	t.ContentType = known(r.ContentType, ContentTypeJSON)
	t.Headers = r.Headers.raw
	t.Properties = r.Properties
	t.Priority = r.Priority
	t.Redelivered = r.Redelivered // not the header: a retry keeps that
}

// decodeBody reads [args, kwargs, embed].
func (t *Task) decodeBody(body []byte) error {
	s := pyjson.NewScanner(body)
	if !s.Enter('[') {
		if err := s.End(); err != nil {
			return &DecodeError{"body", err}
		}
		return &DecodeError{"body", errors.New("neither an array nor an object")}
	}
	n := 0
	for ; s.Next(); n++ {
		switch n {
		case 0:
			t.Args = s.Value()
		case 1:
			t.Kwargs = s.Value()
		case 2:
			if err := t.Embed.read(&s); err != nil {
				return err
			}
		}
	}
	if err := s.End(); err != nil {
		return &DecodeError{"body", err}
	}
	if n != 3 {
		return &DecodeError{"body", fmt.Errorf("expected 3 elements, got %d", n)}
	}
	return t.checkArguments()
}

// TakeBody gives a task whose headers were read the body of one that is published as it: what reading the body
// of the message would give, if that is written as JSON. It fails where that would.
func (t *Task) TakeBody(published *Task) error {
	published.FillIn()
	args, kwargs := appendRaw(nil, published.Args, "[]"), appendRaw(nil, published.Kwargs, "{}")
	for _, raw := range [][]byte{args, kwargs} {
		if !utf8.Valid(raw) {
			return &DecodeError{"body", errors.New("invalid UTF-8")}
		}
		if err := pyjson.Valid(raw); err != nil {
			return &DecodeError{"body", err}
		}
		if err := pyjson.CheckTypes(raw); err != nil {
			return &DecodeError{"body", err}
		}
	}
	next := &published.Embed
	t.body, t.Args, t.Kwargs = wrapped{}, args, kwargs
	t.Embed = Embed{meaning(next.Callbacks), meaning(next.Errbacks), meaning(next.Chain), meaning(next.Chord)}
	return t.checkArguments()
}

// checkArguments makes an array and an object of the arguments, and refuses what cannot
// be called with. Keyword arguments that are [] or null are none; a Python worker stores
// nothing for these.
func (t *Task) checkArguments() error {
	if pyjson.Kind(t.Kwargs) != '{' && !truth(t.Kwargs) {
		t.Kwargs = []byte("{}")
	}
	if pyjson.Kind(t.Kwargs) != '{' {
		return &InvalidTaskError{Task: t.Name, ID: t.ID, Reason: "Task keyword arguments must be a mapping"}
	}
	args, ok := iterated(t.Args)
	if !ok {
		return &InvalidTaskError{
			Task: t.Name, ID: t.ID, Class: "TypeError",
			Reason: t.Name + "() argument after * must be an iterable, not " + pyjson.PythonType(t.Args),
		}
	}
	t.Args = args
	return nil
}

func (m *Embed) read(s *pyjson.Scanner) error {
	if !s.Enter('{') {
		if truth(s.Value()) {
			return &DecodeError{"body", errors.New("its third element is not an object")}
		}
		return nil
	}
	for s.Next() {
		switch string(s.Key()) {
		case "callbacks":
			m.Callbacks = meaning(s.Value())
		case "errbacks":
			m.Errbacks = meaning(s.Value())
		case "chain":
			m.Chain = meaning(s.Value())
		case "chord":
			m.Chord = meaning(s.Value())
		}
	}
	return nil
}

// meaning returns nil for null and what else says that there is nothing to run.
func meaning(raw []byte) []byte {
	if isNull(raw) || !truth(raw) {
		return nil
	}
	return raw
}
