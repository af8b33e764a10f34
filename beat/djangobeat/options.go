package djangobeat

import (
	"encoding/json"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/protocol/pyjson"
)

// dateLayout is Python's isoformat.
const dateLayout = "2006-01-02T15:04:05.999999-07:00"

// options are those of apply_async, as ModelEntry passes them.
func (r *row) options(l layout) (json.RawMessage, error) {
	headers, err := document(r.headers, '{', "headers")
	if err != nil {
		return nil, err
	}
	dst := []byte{'{'}
	for _, option := range []struct {
		name  string
		value any // nil: not set
	}{
		{"queue", orNil(r.queue.String)},
		{"exchange", orNil(r.exchange.String)},
		{"routing_key", orNil(r.routingKey.String)},
		{"priority", priority(r)},
		{"expires", expires(r)},
	} {
		if option.value == nil {
			continue
		}
		dst = pyjson.AppendKey(dst, option.name)
		if dst, err = pyjson.Append(dst, option.value); err != nil {
			return nil, err
		}
	}
	if !l.old {
		dst = append(pyjson.AppendKey(dst, "headers"), withName(headers, r.name)...)
	}
	return append(dst, '}'), nil
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func priority(r *row) any {
	if !r.priority.Valid {
		return nil
	}
	return r.priority.Int64
}

// expires is a date, or a number of seconds.
func expires(r *row) any {
	switch {
	case !r.expires.IsZero():
		return r.expires.UTC().Format(dateLayout)
	case r.expireSeconds.Int64 != 0:
		return r.expireSeconds.Int64
	}
	return nil
}

// withName adds the header by which tasks know what sent them.
func withName(headers json.RawMessage, entry string) []byte {
	const name = "periodic_task_name"
	dst := []byte{'{'}
	for key, value := range pyjson.Members(headers) {
		if key != name {
			dst = append(pyjson.AppendKey(dst, key), value...)
		}
	}
	dst = pyjson.AppendKey(dst, name)
	return append(pyjson.AppendString(dst, entry), '}')
}

// named is an entry of beat_schedule with that header, which Python's scheduler gives it as well: to that, it is
// a row.
func named(e *beat.Entry) *beat.Entry {
	var headers []byte
	dst := []byte{'{'}
	for key, value := range pyjson.Members(e.Options) {
		if key == "headers" {
			headers = value
			continue
		}
		dst = append(pyjson.AppendKey(dst, key), value...)
	}
	with := *e
	with.Options = append(append(pyjson.AppendKey(dst, "headers"), withName(headers, e.Name)...), '}')
	return &with
}
