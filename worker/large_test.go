package worker_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/tasks"
)

// packed is a message whose body is compressed.
func packed(t *testing.T, id string, body []byte) string {
	t.Helper()
	small, err := compression.Compress("zstd", body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"body": %q, "headers": {"task": "app.size", "id": %q, "compression": "application/zstd"}, `+
		`"content-type": "application/json", "content-encoding": "utf-8", "properties": {"delivery_tag": %q, `+
		`"delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64"}}`,
		base64.StdEncoding.EncodeToString(small), id, id)
}

func bodyOf(text []byte) []byte {
	return fmt.Appendf(nil, `[["%s"], {}, {"callbacks": null}]`, text)
}

// A body that becomes much longer than its message is refused, and its caller told.
func TestDecompressionBomb(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.size", func(text string) int { return len(text) })
		b.cfg.MaxDecompressed = 1000
		b.start()
		b.publish(packed(t, "fine", bodyOf(bytes.Repeat([]byte("x"), 900))), packed(t, "bomb", bodyOf(bytes.Repeat([]byte("x"), 5000))))
		b.wantResult("fine", "SUCCESS 900")
		if got := b.result("bomb"); !strings.Contains(got, "FAILURE") || !strings.Contains(got, "more than 1000 bytes") {
			t.Errorf("result %q", got)
		}
		b.wantLog("more than 1000 bytes")
	})
}

// Without a setting, what a body may become follows from its size.
func TestDefaultMaxDecompressed(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{1000: 16<<20 + 200_000, 2 << 20: 256 << 20} {
		asked := 0
		d := protocol.Decoder{Decompress: func(_ string, _ []byte, limit int) ([]byte, error) {
			asked = limit
			return nil, errors.New("no")
		}}
		raw := fmt.Sprintf(`{"body": %q, "headers": {"task": "a", "id": "b", "compression": "zlib"}, "content-type": "application/json", `+
			`"properties": {"delivery_tag": "c", "delivery_info": {"exchange": "", "routing_key": "celery"}}}`, strings.Repeat("x", size))
		if task, err := d.Decode(envelopetest.Open([]byte(raw))); err == nil || task == nil || task.ID != "b" || asked != want {
			t.Errorf("of %d bytes up to %d may be made, want %d; %v", size, asked, want, err)
		}
	}
}

// Others are received and run while a large message is being read. What has not been read
// when the worker stops goes back.
func TestLargeMessagesDoNotHoldUpOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.size", func(text string) int { return len(text) })
		b.reg.Register("app.add", add)
		reading := make(chan struct{})
		b.reg.Connect(tasks.Hooks{TaskReceived: func(task *tasks.Request) {
			if task.Name == "app.size" {
				<-reading
			}
		}})
		b.start()
		large := b.send(canvas.Sig("app.size", strings.Repeat("x", 300<<10)))
		second := b.send(canvas.Sig("app.size", strings.Repeat("x", 300<<10)))
		small := b.send(canvas.Sig("app.add", 1, 2))
		b.wantResult(small, "SUCCESS 3")
		b.wantResult(large, "")
		b.stop()
		synctest.Wait()
		close(reading)
		<-b.ended
		b.stop = nil
		b.wantResult(second, "")
		if waiting := b.broker.Len(queue); waiting == 0 || b.broker.Leased() > 0 {
			t.Errorf("%d messages went back, %d are leased", waiting, b.broker.Leased())
		}
	})
}
