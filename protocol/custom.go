package protocol

import (
	"encoding/json"

	"github.com/apium/apium/protocol/pyjson"
)

// Property returns a property of the message as text: app_id, user_id, type, message_id and
// whatever else the publisher gave (self.request.properties in Python). What is no string is
// returned as its JSON; "" if it is missing or null.
func (t *Task) Property(name string) string { return textOfMember(t.Properties, name) }

// Header returns a header of the message as text, a custom one (self.request.headers in
// Python) or one of Celery's own. What is no string is returned as its JSON; "" if it is
// missing or null. See CustomHeaders for all.
func (t *Task) Header(name string) string { return textOfMember(t.Headers, name) }

// SetHeader sets a custom header to a text, in the place of what it was. Those that are Celery's own cannot be set: they follow
// from the fields.
func (t *Task) SetHeader(name, text string) {
	headers := []byte{'{'}
	for key, value := range pyjson.Members(t.Headers) {
		if key != name {
			headers = append(pyjson.AppendKey(headers, key), value...)
		}
	}
	t.Headers = append(pyjson.AppendString(pyjson.AppendKey(headers, name), text), '}')
}

func textOfMember(object []byte, name string) string {
	value := pyjson.Member(object, name)
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
	for key, value := range pyjson.Members(t.Headers) {
		if protocolHeaders[key] {
			continue
		}
		if custom == nil {
			custom = make(map[string]json.RawMessage)
		}
		custom[key] = value
	}
	return custom
}
