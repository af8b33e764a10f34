package worker_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"github.com/apium/apium/protocol/serializer"
)

// seal stands in for a serializer that signs: what it has written begins with a seal.
type seal struct{}

func (seal) ContentType() string     { return serializer.ContentTypeSigned }
func (seal) ContentEncoding() string { return "utf-8" }

func (seal) FromJSON(text []byte) ([]byte, error) { return append([]byte("seal "), text...), nil }

func (seal) ToJSON(body []byte) ([]byte, error) {
	if len(body) < 5 || string(body[:5]) != "seal " {
		return nil, errors.New("its signature is bad")
	}
	return body[5:], nil
}

// Where messages are signed, a Go handler runs what is signed well, and what it publishes is signed.
func TestSignedMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Signed, b.cfg.AcceptContent = seal{}, []string{serializer.ContentTypeSigned}
		b.reg.Register("app.add", add)
		b.start()
		message := func(id, contentType, body string) string {
			return fmt.Sprintf(`{"body": %q, "headers": {"task": "app.add", "id": %q}, "content-type": %q, "content-encoding": "utf-8", `+
				`"properties": {"delivery_tag": %[2]q, "delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64"}}`,
				base64.StdEncoding.EncodeToString([]byte(body)), id, contentType)
		}
		const body = `[[1, 2], {}, {"callbacks": [{"task": "app.add", "args": [4], "kwargs": {}, "options": {"task_id": "link"}, "subtask_type": null, "immutable": false}], "errbacks": null, "chain": null, "chord": null}]`
		b.publish(message("good", serializer.ContentTypeSigned, "seal "+body))
		b.publish(message("bad", serializer.ContentTypeSigned, "SEAL "+body))
		b.publish(message("unsigned", "application/json", body))
		b.wantResult("good", "SUCCESS 3")
		b.wantResult("link", "SUCCESS 7")
		for _, id := range []string{"bad", "unsigned"} {
			if got := b.result(id); len(got) < 7 || got[:7] != "FAILURE" {
				t.Errorf("%s: %s", id, got)
			}
		}
		b.wantLog("its signature is bad")
	})
}
