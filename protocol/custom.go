package protocol

import (
	"encoding/json"

	"github.com/apium/apium/protocol/pyjson"
)

// Property returns a property of the message as text: app_id, user_id, type, message_id and
// whatever else the publisher gave (self.request.properties in Python). What is no string is
// returned as its JSON; "" if it is missing or null.
func (t *Task) Property(name string) string {
	value := memberOf(t.Properties, name)
	if isNull(value) {
		return ""
	}
	if pyjson.Kind(value) != '"' {
		return string(value)
	}
	text, _ := pyjson.Unquote(value)
	return text
}

// CustomHeaders returns the headers of the message that are not Celery's own, as JSON by their
// names (self.request.headers in Python); nil if there are none.
func (t *Task) CustomHeaders() map[string]json.RawMessage {
	var custom map[string]json.RawMessage
	s := pyjson.NewScanner(t.Headers)
	if !s.Enter('{') {
		return nil
	}
	for s.Next() {
		key := string(s.Key())
		value := s.Value()
		if protocolHeaders[key] {
			continue
		}
		if custom == nil {
			custom = make(map[string]json.RawMessage)
		}
		custom[key] = json.RawMessage(value)
	}
	return custom
}

// memberOf returns a member of a JSON object, raw; nil if there is none.
func memberOf(object []byte, name string) (value []byte) {
	s := pyjson.NewScanner(object)
	if !s.Enter('{') {
		return nil
	}
	for s.Next() {
		if string(s.Key()) == name {
			value = s.Value()
		} else {
			s.Value()
		}
	}
	return value
}
