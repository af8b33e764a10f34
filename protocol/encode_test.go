package protocol_test

import (
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
)

// TestEncodeCaptured decodes what Celery wrote and encodes it again.
func TestEncodeCaptured(t *testing.T) {
	t.Parallel()
	for _, c := range load[[]messageCase](t, newest, "messages.json") {
		for _, e := range c.Entries {
			task, err := protocol.DecodeTask([]byte(e.Raw), protocol.Accept{})
			if err != nil || task.Protocol != 2 || strings.Contains(e.Raw, `"compression"`) {
				continue
			}
			p := protocol.Publication{DeliveryTag: task.DeliveryTag}
			want := e.Raw
			if i := strings.Index(want, `, "expiration": "`); i >= 0 { // it depends on the time of publishing
				p.Expiration = time.Hour
				end := i + len(`, "expiration": "`)
				want = want[:end] + "3600000" + want[end+strings.IndexByte(want[end:], '"'):]
			}
			// A date without an offset is written with the one it was taken to have.
			want = strings.Replace(want, `05.678900"`, `05.678900+00:00"`, 1)
			got, err := protocol.EncodeTask(task, p)
			if err != nil || string(got) != want {
				t.Errorf("%s (%v):\n got %s\nwant %s", c.Call, err, got, want)
			}
		}
	}
}

func TestEncodeDefaults(t *testing.T) {
	t.Parallel()
	raw, err := protocol.EncodeTask(&protocol.Task{Name: "shop.add", ID: "i", RoutingKey: "celery", Args: []byte(`[1]`)}, protocol.Publication{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := protocol.DecodeTask(raw, protocol.Accept{})
	if err != nil {
		t.Fatal(err)
	}
	if got.RootID != "i" || got.CorrelationID != "i" || got.Lang != "go" || got.ArgsRepr != "(1,)" || got.KwargsRepr != "{}" ||
		string(got.Kwargs) != "{}" || len(got.DeliveryTag) != 36 {
		t.Errorf("got %+v", got)
	}
	for _, task := range []protocol.Task{{}, {Name: "a"}, {Name: "a", ID: "i"}} {
		if _, err := protocol.EncodeTask(&task, protocol.Publication{}); err == nil {
			t.Errorf("%+v is encoded", task)
		}
	}
}

func TestMarkRedelivered(t *testing.T) {
	t.Parallel()
	n := 0
	for _, c := range load[[]messageCase](t, newest, "messages.json") {
		for _, e := range c.Entries {
			if e.Restored == "" {
				continue
			}
			n++
			got, err := protocol.MarkRedelivered([]byte(e.Raw))
			if err != nil || string(got) != e.Restored {
				t.Errorf("%s (%v):\n got %s\nwant %s", c.Call, err, got, e.Restored)
			}
			if again, err := protocol.MarkRedelivered(got); err != nil || string(again) != string(got) {
				t.Errorf("%s: marked twice: %s, %v", c.Call, again, err)
			}
			if m, err := protocol.DecodeMessage(got); err != nil || !m.Properties.Redelivered {
				t.Errorf("%s: not redelivered: %v", c.Call, err)
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d captured restores", n)
	}
	for raw, want := range map[string]string{
		`{}`: `{}`,
		`{"properties":{"delivery_info":{}},"headers":{}}`:          `{"properties":{"delivery_info":{"redelivered": true}},"headers":{"redelivered": true}}`,
		`{"headers":null,"x":NaN}`:                                  `{"headers":null,"x":NaN}`,
		`{"headers":{"redelivered":false,"a":1e400,"b":"\ud800"} }`: `{"headers":{"redelivered":true,"a":1e400,"b":"\ud800"} }`,
	} {
		got, err := protocol.MarkRedelivered([]byte(raw))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v", raw, got, err)
		}
	}
	if _, err := protocol.MarkRedelivered([]byte(`{"headers": {`)); err == nil {
		t.Error("no error for a broken entry")
	}
}

// TestSignatures encodes every captured signature again.
func TestSignatures(t *testing.T) {
	t.Parallel()
	n := 0
	for _, version := range []string{"celery-4.4.7", "celery-5.2.7", newest} {
		for _, c := range load[[]messageCase](t, version, "messages.json") {
			for _, e := range c.Entries {
				task, err := protocol.DecodeTask([]byte(e.Raw), protocol.Accept{})
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
