package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/apium/apium/protocol/pyjson"
)

// kombuLoads answers each line, a JSON string, with what kombu makes of that
// text: its dumps, or null if it refuses the text. Lone surrogates that stand for no
// byte become U+FFFD, as a Go string cannot hold them; types that are not registered
// are left as they are.
const kombuLoads = `
import json, re, sys
from kombu.utils.json import _decoders, dumps, loads, object_hook
def hook(o):
    kind = o.get("__type__")
    return object_hook(o) if isinstance(kind, str) and kind in _decoders else o
def mend(v):
    if isinstance(v, str):
        return re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", v)
    if isinstance(v, list):
        return [mend(x) for x in v]
    if isinstance(v, dict):
        return {mend(k): mend(x) for k, x in v.items()}
    return v
for line in sys.stdin:
    try:
        out = dumps(mend(loads(json.loads(line).encode(), object_hook=hook)), sort_keys=True)
    except Exception:
        out = None
    print(json.dumps(out))
`

// jsonPieces are what the texts are made of: whole values, and scraps.
var jsonPieces = []string{
	"null", "true", "false", "0", "-0", "12", "-7.50", "1e5", "1E-7", "9223372036854775808", "NaN", "Infinity", "-Infinity",
	`""`, `"a"`, `"\u00e9\n"`, `"é中😀"`, `"\ud83d\ude00"`, `"\udce9"`, "[]", "{}", "[1, 2]", `{"a": 1}`, `{"b": [], "a": {"c": null}}`,
	`{"__type__": "decimal", "__value__": "1.10"}`, `{"__type__": "datetime", "__value__": "2030-01-02T03:04:05.06+02:00"}`,
	`{"__type__": "date", "__value__": "2030-01-02"}`, `{"__type__": "money", "__value__": 1}`, `{"__type__": 1}`,
	"[", "]", "{", "}", ",", ":", " ", "\n", `"`, `\`, "-", ".", "e", "01", "'a'", "nul", `"a": `, `"\u12"`, "\x01", "1.",
}

// jsonText makes a value of nested pieces, and breaks every second one that
// holds no datetime or Decimal: of these kombu reads some that nobody writes,
// such as 03:04:05:6.
func jsonText(rnd *rand.Rand, depth int) string {
	piece := func() string { return jsonPieces[rnd.IntN(29)] }
	text := piece()
	switch {
	case depth > 0 && rnd.IntN(2) == 0:
		text = fmt.Sprintf("[%s, %s]", jsonText(rnd, depth-1), piece())
	case depth > 0:
		text = fmt.Sprintf(`{"k": %s,%s:%s}`, jsonText(rnd, depth-1), `"`+string(rune('a'+rnd.IntN(26)))+`"`, piece())
	}
	if depth == 3 && rnd.IntN(2) == 0 && !strings.Contains(text, `"__type__": "d`) {
		at := rnd.IntN(len(text) + 1)
		end := min(at+rnd.IntN(3), len(text))
		text = text[:at] + jsonPieces[rnd.IntN(len(jsonPieces))] + text[end:]
	}
	return strings.ToValidUTF8(text, "?")
}

// What kombu reads, pyjson reads and writes back in the same bytes; what kombu
// refuses, pyjson refuses.
func TestJSONAsKombu(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	texts := make([]string, 4000)
	var in bytes.Buffer
	for i := range texts {
		texts[i] = jsonText(rnd, 3)
		line, err := json.Marshal(texts[i])
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.CommandContext(t.Context(), interpreter(celery57), "-c", kombuLoads)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(texts) {
		t.Fatalf("%d answers to %d texts", len(answers), len(texts))
	}
	read := 0
	for i, text := range texts {
		var want *string
		if err := json.Unmarshal([]byte(answers[i]), &want); err != nil {
			t.Fatal(err)
		}
		var v any
		err := pyjson.Unmarshal([]byte(text), &v)
		if want == nil {
			if err == nil {
				t.Errorf("%q: kombu refuses it, pyjson reads %v", text, v)
			}
			continue
		}
		read++
		got, appendErr := pyjson.Append(nil, v)
		if err != nil || appendErr != nil || string(got) != *want {
			t.Errorf("%q: %s, %v, %v; kombu makes it %s", text, got, err, appendErr, *want)
		}
	}
	if read < len(texts)/4 || read > len(texts)*3/4 {
		t.Errorf("kombu read %d of %d texts: the mixture is no good test", read, len(texts))
	}
}
