package canvas_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// check compares a plan with what Celery did. Where Celery failed, with whatever
// exception, there has to be an error.
func check(t *testing.T, what, input string, plan *canvas.Plan, err error, want *did) {
	t.Helper()
	if want.Error != "" || err != nil {
		if want.Error == "" || err == nil {
			t.Errorf("%s: error %v, Celery's: %q\ninput %s", what, err, want.Error, input)
		}
		return
	}
	ids := idMap{there: map[string]string{}, back: map[string]string{}}
	steps, wantSteps := decodeAny(t, stepsJSON(t, plan)), decodeAny(t, want.Steps)
	if path := ids.differ("steps", steps, wantSteps); path != "" {
		t.Errorf("%s: %s\ninput %s\ngot  %s\nwant %s", what, path, input, stepsJSON(t, plan), want.Steps)
		return
	}
	if want.Result != nil {
		got := []byte("null")
		if plan.Result != nil {
			got = plan.Result.Append(nil)
		}
		if path := ids.differ("result", decodeAny(t, got), decodeAny(t, want.Result)); path != "" {
			t.Errorf("%s: %s\ninput %s\ngot  %s\nwant %s", what, path, input, got, want.Result)
		}
	}
	if want.Children == nil {
		return
	}
	if len(plan.Children) != len(want.Children) {
		t.Errorf("%s: %d children, want %d\ninput %s", what, len(plan.Children), len(want.Children), input)
		return
	}
	for i, child := range plan.Children {
		got := child.Append(nil)
		if path := ids.differ("children", decodeAny(t, got), decodeAny(t, want.Children[i])); path != "" {
			t.Errorf("%s: %s\ninput %s\ngot  %s\nwant %s", what, path, input, got, want.Children[i])
		}
	}
}

// stepsJSON writes a plan as the script does.
func stepsJSON(t *testing.T, plan *canvas.Plan) []byte {
	t.Helper()
	steps := []any{}
	for _, step := range plan.Steps {
		switch s := step.(type) {
		case canvas.Publish:
			steps = append(steps, map[string]any{"publish": messageOf(t, s)})
		case canvas.SetChordSize:
			steps = append(steps, map[string]any{"size": []any{s.GroupID, s.Size}})
		case canvas.SaveGroup:
			steps = append(steps, map[string]any{"group": []any{s.GroupID, json.RawMessage(s.Record)}})
		case canvas.GrowChord:
			steps = append(steps, map[string]any{"grow": s.GroupID})
		}
	}
	raw, err := pyjson.Append(nil, steps)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func messageOf(t *testing.T, p canvas.Publish) map[string]any {
	t.Helper()
	encoded, err := protocol.EncodeTask(p.Task, p.Publication)
	if err != nil {
		t.Fatal(err)
	}
	message := decodeAny(t, envelopetest.Encode(encoded, p.Task.Exchange, p.Task.RoutingKey, "tag")).(map[string]any)
	body, err := base64.StdEncoding.DecodeString(message["body"].(string))
	if err != nil {
		t.Fatal(err)
	}
	properties := message["properties"].(map[string]any)
	delete(properties, "delivery_tag")
	return map[string]any{"headers": message["headers"], "properties": properties, "body": json.RawMessage(body)}
}

func decodeAny(t *testing.T, raw []byte) any {
	t.Helper()
	var value any
	if err := pyjson.Unmarshal(raw, &value); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return value
}

// idMap maps our ids to Celery's, one to one.
type idMap struct{ there, back map[string]string }

func (m idMap) same(ours, theirs string) bool {
	if !strings.HasPrefix(ours, "go-") || !strings.HasPrefix(theirs, "py-") {
		return ours == theirs
	}
	if _, ok := m.there[ours]; !ok && m.back[theirs] == "" {
		m.there[ours], m.back[theirs] = theirs, ours
	}
	return m.there[ours] == theirs && m.back[theirs] == ours
}

// alike accepts two differences: dates are written anew, and a signature in the kwargs of
// a map that was built in the process shows a tuple of arguments in their repr.
func alike(path, ours, theirs string) bool {
	if strings.HasSuffix(path, ".headers.kwargsrepr") {
		return ours == strings.ReplaceAll(theirs, "'args': ()", "'args': []")
	}
	a, errA := protocol.ParseTime(ours, nil)
	b, errB := protocol.ParseTime(theirs, nil)
	return errA == nil && errB == nil && a.Equal(b)
}

// differ returns where two values differ, "" if they do not.
func (m idMap) differ(path string, ours, theirs any) string {
	switch a := ours.(type) {
	case map[string]any:
		b, ok := theirs.(map[string]any)
		if !ok {
			break
		}
		for _, key := range keysOf(a, b) {
			x, ours := a[key]
			y, theirs := b[key]
			if ours != theirs {
				return fmt.Sprintf("%s.%s: there %v, in Celery %v", path, key, ours, theirs)
			}
			if p := m.differ(path+"."+key, x, y); p != "" {
				return p
			}
		}
		return ""
	case []any:
		b, ok := theirs.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range a {
			if p := m.differ(fmt.Sprintf("%s[%d]", path, i), a[i], b[i]); p != "" {
				return p
			}
		}
		return ""
	case string:
		if b, ok := theirs.(string); ok && (m.same(a, b) || alike(path, a, b)) {
			return ""
		}
	default:
		if reflect.DeepEqual(ours, theirs) {
			return ""
		}
	}
	return fmt.Sprintf("%s: got %.300v, want %.300v", path, ours, theirs)
}

func keysOf(a, b map[string]any) []string {
	var keys []string
	for key := range a {
		keys = append(keys, key)
	}
	for key := range b {
		if _, both := a[key]; !both {
			keys = append(keys, key)
		}
	}
	return keys
}
