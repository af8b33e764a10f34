package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// here makes a message of another app one of the apps here, and what is due in years due now.
var here = strings.NewReplacer(`"shop.`, `"tapp.`, `"2030-`, `"2020-`)

// captured are messages that Celery's producers of four versions have sent, as they lay in Redis, for tasks that
// the workers of these tests have.
func captured(t *testing.T) (raws []string) {
	t.Helper()
	files, err := filepath.Glob("../protocol/testdata/celery-*/messages.json")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		var cases []struct {
			Entries []struct{ Raw string }
		}
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &cases)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			for _, entry := range c.Entries {
				raws = append(raws, here.Replace(entry.Raw))
			}
		}
	}
	return raws
}

// mutator changes messages at random. The same seed makes the same changes.
type mutator struct{ *rand.Rand }

func newMutator(seed uint64) mutator { return mutator{rand.New(rand.NewPCG(seed, 0))} }

// wild are values that most fields of a message do not expect. Texts that begin with @ are put in as they
// stand, for encoding/json writes none like them.
var wild = []any{
	nil, true, false, 0, -1, 1, 7.5, 1 << 40, json.Number("123456789012345678901234567890"), json.Number("1e300"), "@NaN", "@-Infinity", "@1e999",
	"", " ", "x", "0", "\x00", "\u2028", "@\"\\ud800\"", "é", strings.Repeat("y", 300), "2020-01-01T00:00:00", "2020-13-41T99:00:00", "application/json",
	"tapp.add", "celery",
	[]any{},
	[]any{nil},
	[]any{1, 2},
	[]any{[]any{}, map[string]any{}, map[string]any{}},
	map[string]any{},
	map[string]any{"a": nil},
	map[string]any{"": []any{}},
	map[string]any{"task": "tapp.add", "args": []any{1, 2}},
	map[string]any{"__type__": "uuid", "__value__": 5},
}

// mutate returns the message with up to three changes: in its envelope, headers and properties, in its body, or anywhere among
// its bytes. Its id is a new one, unless that is changed.
func (m mutator) mutate(t *testing.T, raw, id string) string {
	t.Helper()
	var envelope map[string]any
	if err := decodeNumbers(raw, &envelope); err != nil {
		t.Fatal(err)
	}
	properties, _ := envelope["properties"].(map[string]any)
	properties["correlation_id"], properties["delivery_tag"] = id, id
	if headers, ok := envelope["headers"].(map[string]any); ok && headers["id"] != nil {
		headers["id"], headers["root_id"] = id, id
	}
	body, readable := m.body(envelope, id)
	for range 1 + m.IntN(3) {
		if m.IntN(3) == 0 && readable {
			body = m.change(body)
		} else if changed, ok := m.change(envelope).(map[string]any); ok {
			envelope = changed
		}
	}
	if _, ok := envelope["body"].(string); ok && readable {
		envelope["body"] = base64.StdEncoding.EncodeToString([]byte(written(t, body)))
	}
	text := written(t, envelope)
	if m.IntN(10) == 0 {
		at := m.IntN(len(text))
		text = text[:at] + []string{"", "\xff", `"`, "}", "[", "\x00", text}[m.IntN(7)] + text[min(len(text), at+m.IntN(9)):]
	}
	return text
}

// body returns what is in the body, if that is JSON.
func (m mutator) body(envelope map[string]any, id string) (body any, readable bool) {
	text, _ := envelope["body"].(string)
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil || decodeNumbers(here.Replace(string(packed)), &body) != nil {
		return nil, false
	}
	if old, ok := body.(map[string]any); ok { // protocol 1
		old["id"] = id
	}
	return body, true
}

// change changes one thing somewhere in a document.
func (m mutator) change(doc any) any {
	switch {
	case m.IntN(4) == 0:
	case doc == nil:
	default:
		switch doc := doc.(type) {
		case map[string]any:
			return m.changeMember(doc)
		case []any:
			if len(doc) > 0 {
				i := m.IntN(len(doc))
				doc[i] = m.change(doc[i])
				return doc
			}
		}
	}
	return m.wild()
}

// wild is one of the values that most fields do not expect, and may be changed itself.
func (m mutator) wild() any {
	var value any
	text, err := json.Marshal(wild[m.IntN(len(wild))])
	if err == nil {
		err = decodeNumbers(string(text), &value)
	}
	if err != nil {
		panic(err) // they are all JSON
	}
	return value
}

func (m mutator) changeMember(doc map[string]any) any {
	names := slices.Sorted(maps.Keys(doc))
	if len(names) == 0 {
		return map[string]any{"x": m.wild()}
	}
	name := names[m.IntN(len(names))]
	switch m.IntN(12) {
	case 0:
		delete(doc, name)
	case 1:
		doc[names[m.IntN(len(names))]] = "copied"
	case 2:
		doc[strings.ToUpper(name)] = doc[name]
	default:
		doc[name] = m.change(doc[name])
	}
	return doc
}

func decodeNumbers(text string, into any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

// written is a document as JSON, or what Python takes for JSON.
func written(t *testing.T, doc any) string {
	t.Helper()
	var pairs []string
	for _, value := range wild {
		if text, ok := value.(string); ok && strings.HasPrefix(text, "@") {
			quoted, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, string(quoted), text[1:])
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

// mutations are changed messages, so many of a seed.
func mutations(t *testing.T, seed uint64, n int) (calls []call) {
	t.Helper()
	raws, m := captured(t), newMutator(seed)
	for i := range n {
		id := fmt.Sprintf("m%d-%d", seed, i)
		calls = append(calls, call{Name: "mutation " + id, ID: id, Key: "celery", Raw: m.mutate(t, raws[m.IntN(len(raws))], id)})
	}
	return calls
}
