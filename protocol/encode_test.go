package protocol_test

import (
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

// TestEncodeCaptured decodes what Celery wrote and encodes it again.
func TestEncodeCaptured(t *testing.T) {
	t.Parallel()
	for _, c := range load[[]messageCase](t, newest, "messages.json") {
		for _, e := range c.Entries {
			task, err := envelopetest.DecodeTask([]byte(e.Raw), protocol.Accept{})
			if err != nil || task.Protocol != 2 || strings.Contains(e.Raw, `"compression"`) {
				continue
			}
			var p protocol.Publication
			want := e.Raw
			if i := strings.Index(want, `, "expiration": "`); i >= 0 { // it depends on the time of publishing
				p.Expiration = time.Hour
				end := i + len(`, "expiration": "`)
				want = want[:end] + "3600000" + want[end+strings.IndexByte(want[end:], '"'):]
			}
			// A date without an offset is written with the one it was taken to have.
			want = strings.Replace(want, `05.678900"`, `05.678900+00:00"`, 1)
			m, err := protocol.EncodeTask(task, p)
			got := envelopetest.Encode(m, task.Exchange, task.RoutingKey, task.DeliveryTag)
			if err != nil || string(got) != want {
				t.Errorf("%s (%v):\n got %s\nwant %s", c.Call, err, got, want)
			}
		}
	}
}

func TestEncodeDefaults(t *testing.T) {
	t.Parallel()
	m, err := protocol.EncodeTask(&protocol.Task{Name: "shop.add", ID: "i", RoutingKey: "celery", Args: []byte(`[1]`)}, protocol.Publication{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := envelopetest.DecodeTask(envelopetest.Encode(m, "", "celery", "tag"), protocol.Accept{})
	if err != nil {
		t.Fatal(err)
	}
	if got.RootID != "i" || got.CorrelationID != "i" || got.Lang != "go" || got.ArgsRepr != "(1,)" || got.KwargsRepr != "{}" ||
		string(got.Kwargs) != "{}" {
		t.Errorf("got %+v", got)
	}
	for _, task := range []protocol.Task{{}, {Name: "a"}, {Name: "a", ID: "i"}} {
		if _, err := protocol.EncodeTask(&task, protocol.Publication{}); err == nil {
			t.Errorf("%+v is encoded", task)
		}
	}
}

// TestSignatures encodes every captured signature again.
func TestSignatures(t *testing.T) {
	t.Parallel()
	n := 0
	for _, version := range []string{"celery-4.4.7", "celery-5.2.7", newest} {
		for _, c := range load[[]messageCase](t, version, "messages.json") {
			for _, e := range c.Entries {
				task, err := envelopetest.DecodeTask([]byte(e.Raw), protocol.Accept{})
				if err != nil {
					continue
				}
				for _, raw := range [][]byte{task.Embed.Callbacks, task.Embed.Errbacks, task.Embed.Chain, task.Embed.Chord} {
					for _, s := range signatures(t, raw) {
						n++
						got := string(s.Append(nil))
						// Celery before 5.1 has chord_size ahead of immutable.
						old := strings.NewReplacer(`"chord_size": null, "immutable": false`, `"immutable": false, "chord_size": null`,
							`"chord_size": 2, "immutable": false`, `"immutable": false, "chord_size": 2`)
						if !strings.Contains(old.Replace(string(raw)), old.Replace(got)) {
							t.Errorf("%s: %s is not in %s", c.Call, got, raw)
						}
					}
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d captured signatures", n)
	}
}
