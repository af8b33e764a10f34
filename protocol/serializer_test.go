package protocol_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

// reversed is a serializer that writes JSON backwards.
type reversed struct{}

func (reversed) ContentType() string     { return "application/x-yaml" }
func (reversed) ContentEncoding() string { return "binary" }

func (reversed) ToJSON(body []byte) ([]byte, error) {
	if body[0] == '!' {
		return nil, errors.New("refused")
	}
	return reverse(body), nil
}

func (reversed) FromJSON(text []byte) ([]byte, error) { return reverse(text), nil }

func reverse(text []byte) []byte {
	out := make([]byte, len(text))
	for i, c := range text {
		out[len(text)-1-i] = c
	}
	return out
}

func bodyIn(contentType, body, headers string) []byte {
	return fmt.Appendf(nil, `{"body": "%s", "content-type": "%s", "content-encoding": "binary", "headers": {"task": "t", "id": "i"%s}, `+
		`"properties": {"body_encoding": "base64", "delivery_tag": "d", "delivery_info": {"exchange": "", "routing_key": "q"}}}`,
		base64.StdEncoding.EncodeToString([]byte(body)), contentType, headers)
}

func TestSerializers(t *testing.T) {
	t.Parallel()
	accept, err := protocol.NewAccept("json", "yaml", "application/x-other")
	if err != nil {
		t.Fatal(err)
	}
	d := protocol.Decoder{
		Accept: accept,
		Serializer: func(contentType string) protocol.Serializer {
			if contentType == "application/x-yaml" {
				return reversed{}
			}
			return nil
		},
		Decompress: func(method string, body []byte, _ int) ([]byte, error) {
			if method != "twice" {
				return nil, errors.New("unknown method")
			}
			return body[:len(body)/2], nil
		},
	}
	signed := base64.StdEncoding.EncodeToString([]byte("c2lnbmVy\x00\x01c2lnbmF0dXJl\x00\x01application/json\x00\x01utf-8\x00\x01[[], {}, {}]"))
	const body = `]}{ ,}{ ,]7[[`
	for _, c := range []struct{ name, contentType, body, headers, want string }{
		{"translated", "application/x-yaml", body, "", ""},
		{"compressed", "application/x-yaml", body + body, `, "compression": "twice"`, ""},
		{"refused", "application/x-yaml", "!", "", "body: refused"},
		{"not JSON", "application/x-yaml", "x", "", "body: "},
		{"not UTF-8", "application/x-yaml", "]}{ ,}{ ,]\"\xff\"[[", "", "invalid UTF-8"},
		{"bad type", "application/x-yaml", string(reverse([]byte(`[[{"__type__": "date", "__value__": 1}], {}, {}]`))), "", "bad __value__ for __type__ date"},
		{"empty", "application/x-yaml", "", "", "body: empty"},
		{"unknown method", "application/x-yaml", body, `, "compression": "rar"`, "unknown method"},
		{"accepted only", "application/x-other", body, "", "content type application/x-other is not supported"},
		{"not accepted", "application/x-python-serialize", body, "", "Refusing to deserialize untrusted content of type pickle"},
		{"signed", "application/data", signed, "", "there are no keys to check signatures with"},
		{"raw", "application/data", "text", "", "content type application/data is not supported"},
	} {
		task, err := d.Decode(envelopetest.Open(bodyIn(c.contentType, c.body, c.headers)))
		switch {
		case c.want == "":
			if err != nil || string(task.Args) != "[7]" || string(task.Kwargs) != "{}" {
				t.Errorf("%s: %+v, %v", c.name, task, err)
			}
		case err == nil || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		case verdict(err) != "ack" && c.name != "not accepted":
			t.Errorf("%s: %s", c.name, verdict(err))
		}
	}
	if _, err := protocol.NewAccept("auth"); err == nil || !strings.Contains(err.Error(), "signatures") {
		t.Errorf("accept_content auth: %v", err)
	}
}

func TestEncodeFormat(t *testing.T) {
	t.Parallel()
	task := &protocol.Task{Name: "t", ID: "i", RoutingKey: "q", Args: []byte("[7]"), Headers: []byte(`{"compression": "old", "mine": 1}`)}
	m, err := protocol.EncodeTask(task, protocol.Publication{Format: protocol.Format{
		Serializer: reversed{}, Compression: "twice",
		Compress: func(_ string, body []byte) ([]byte, error) { return append(body, body...), nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	raw := envelopetest.Encode(m, "", "q", "tag")
	for _, want := range []string{`"content-encoding": "binary", "content-type": "application/x-yaml"`, `"mine": 1, "compression": "twice"}`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
	if body := m.Body; !strings.HasPrefix(string(reverse(body[:len(body)/2])), "[[7], {}, ") {
		t.Errorf("%s", body)
	}
	failing := protocol.Format{Compression: "x", Compress: func(string, []byte) ([]byte, error) { return nil, errors.New("no room") }}
	if _, err := protocol.EncodeTask(task, protocol.Publication{Format: failing}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("error %v", err)
	}
}
