package protocol

import (
	"errors"

	"github.com/apium/apium/protocol/pyjson"
)

// Event is an event that a worker or a client has sent (celery/events): members of its
// JSON object, raw, by name.
type Event map[string][]byte

// Text returns a member that is a text, "" if it is none.
func (e Event) Text(name string) string {
	s := pyjson.NewScanner(e[name])
	text, _ := s.Text()
	return string(text)
}

// Number returns a member that is a number, 0 if it is none.
func (e Event) Number(name string) (n float64) {
	if pyjson.Unmarshal(e[name], &n) != nil {
		return 0
	}
	return n
}

// DecodeEvents reads a message of the event exchange: one event, or several of tasks. Of
// several, those that can be read come with the error about the others.
func (d *Decoder) DecodeEvents(m *Received) ([]Event, error) {
	_, body, err := d.controlBody(m)
	if err != nil {
		return nil, err
	}
	if pyjson.Kind(body) != '[' {
		e, err := decodeEvent(body)
		if err != nil {
			return nil, err
		}
		return []Event{e}, nil
	}
	var events []Event
	var errs []error
	s := pyjson.NewScanner(body)
	for s.Enter('['); s.Next(); {
		e, err := decodeEvent(s.Value())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		events = append(events, e)
	}
	if err := s.End(); err != nil {
		errs = append(errs, &DecodeError{"body", err})
	}
	return events, errors.Join(errs...)
}

func decodeEvent(raw []byte) (Event, error) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		return nil, &DecodeError{"event", errors.Join(errors.New("not a JSON object"), s.End())}
	}
	e := Event{}
	for s.Next() {
		name := string(s.Key())
		e[name] = s.Value()
	}
	if err := s.End(); err != nil {
		return nil, &DecodeError{"event", err}
	}
	if e.Text("type") == "" {
		return nil, &DecodeError{"event.type", errMissing}
	}
	return e, nil
}
