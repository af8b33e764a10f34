package envelope

import (
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// MarkRedelivered returns the envelope as kombu's restore leaves it: with
// headers.redelivered and properties.delivery_info.redelivered true. Every other byte
// stays. An object that is not there is not made up.
func MarkRedelivered(raw []byte) ([]byte, error) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		if err := s.End(); err != nil {
			return nil, &protocol.DecodeError{Field: "envelope", Err: err}
		}
		return nil, &protocol.DecodeError{Field: "envelope", Err: errNoObject}
	}
	var first, second edit
	for s.Next() {
		switch string(s.Key()) {
		case "headers":
			first = markIn(&s)
		case "properties":
			second = edit{}
			if s.Enter('{') {
				for s.Next() {
					if string(s.Key()) == "delivery_info" {
						second = markIn(&s)
					}
				}
			}
		}
	}
	if err := s.End(); err != nil {
		return nil, &protocol.DecodeError{Field: "envelope", Err: err}
	}
	if first.from > second.from {
		first, second = second, first
	}
	marked := make([]byte, 0, len(raw)+len(first.text)+len(second.text))
	marked = append(marked, raw[:first.from]...)
	marked = append(marked, first.text...)
	marked = append(marked, raw[first.to:second.from]...)
	marked = append(marked, second.text...)
	return append(marked, raw[second.to:]...), nil
}

// edit replaces a part of a text; the zero edit changes nothing.
type edit struct {
	from, to int
	text     string
}

// markIn takes the object ahead and returns the edit that sets its redelivered member.
func markIn(s *pyjson.Scanner) edit {
	if !s.Enter('{') {
		return edit{}
	}
	var mark edit
	text := `"redelivered": true`
	for s.Next() {
		text = `, "redelivered": true`
		if string(s.Key()) == "redelivered" {
			mark.from = s.Offset()
			s.Value()
			mark.to, mark.text = s.Offset(), "true"
		}
	}
	if mark.text == "" {
		end := s.Offset() - 1
		mark = edit{end, end, text}
	}
	return mark
}
