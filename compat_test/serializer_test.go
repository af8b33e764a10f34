package compat_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer"
)

// kombuTranslate answers each line, [what, name, base64]. load is kombu's JSON of a
// body in that serializer, dump the body, in base64, that a JSON text becomes; pack and
// unpack are a compression and its reverse. What kombu refuses is null.
const kombuTranslate = `
import base64, datetime, json, sys
from kombu import compression, serialization
from kombu.utils import json as kombu_json
def meaning(v):
    if isinstance(v, dict):
        names = {True: "true", False: "false", None: "null"}
        return {(k if isinstance(k, str) else names[k] if k is None or isinstance(k, bool) else
                 k if isinstance(k, (int, float)) else k.decode() if isinstance(k, bytes) else str(k)): meaning(x)
                for k, x in v.items()}
    if isinstance(v, (list, tuple, set)):
        return [meaning(x) for x in v]
    return v
def text(v):
    return kombu_json.dumps(kombu_json.loads(kombu_json.dumps(meaning(v))), sort_keys=True)
TYPES = serialization.registry.name_to_type
for line in sys.stdin:
    what, name, data = json.loads(line)
    data = base64.b64decode(data)
    try:
        if what == "load":
            out = text(serialization.loads(data, TYPES[name], "binary", accept=[TYPES[name]]))
        elif what == "dump":
            out = base64.b64encode(serialization.dumps(kombu_json.loads(data), serializer=name)[2].encode()
                if name == "yaml" else serialization.dumps(kombu_json.loads(data), serializer=name)[2]).decode()
        elif what == "pack":
            out = base64.b64encode(compression.compress(data, name)[0]).decode()
        else:
            out = base64.b64encode(compression.decompress(data, name)).decode()
    except Exception:
        out = None
    print(json.dumps(out))
`

// question is a line for kombuTranslate.
type question struct{ what, name, data string }

// askKombu returns its answers; nil stands for a refusal.
func askKombu(t *testing.T, questions []question) []*string {
	t.Helper()
	var in bytes.Buffer
	for _, q := range questions {
		line, err := json.Marshal([]string{q.what, q.name, base64.StdEncoding.EncodeToString([]byte(q.data))})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.CommandContext(t.Context(), interpreter(celery57), "-W", "ignore", "-c", kombuTranslate)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(lines), len(questions))
	}
	answers := make([]*string, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &answers[i]); err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

func decode64(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sortedJSON writes a JSON text with its keys in order.
func sortedJSON(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	if err := pyjson.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	out, err := pyjson.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// plainPieces are values that kombu's JSON has.
var plainPieces = []string{
	"null", "true", "false", "0", "-7", "12", "255", "65536", "-129", "9223372036854775807", "-9223372036854775808", "18446744073709551615",
	"18446744073709551616", "1.5", "-0.0", "1e+22", "1e-07", "3.0", "123456789.0", "NaN", "Infinity", "-Infinity", `""`, `"a"`, `"yes"`, `"12"`, `"~"`,
	`"2030-01-02"`, `"é中😀"`, `"\n\t\u0000\u2028\u0085\ufeff"`, `" x: - #"`, "[]", "{}", `{"y": 1, "on": []}`, `"\"\\\\"`, `"<<"`, `"="`,
	`{"__type__": "datetime", "__value__": "2030-01-02T03:04:05.060000+02:00"}`, `{"__type__": "datetime", "__value__": "2030-01-02T03:04:05"}`,
	`{"__type__": "datetime", "__value__": "2030-01-02T03:04:05+00:00"}`, `{"__type__": "date", "__value__": "2030-01-02"}`,
	`{"__type__": "bytes", "__value__": "abc"}`, `{"__type__": "base64", "__value__": "/wCA"}`, `{"__type__": "decimal", "__value__": "1.10"}`,
	`{"__type__": "time", "__value__": "03:04:05.000006"}`, `{"__type__": "time", "__value__": "03:04:05-01:30"}`,
	`{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678"}}`,
}

func plainText(rnd *rand.Rand, depth int) string {
	piece := plainPieces[rnd.IntN(len(plainPieces))]
	switch {
	case depth > 0 && rnd.IntN(2) == 0:
		return fmt.Sprintf("[%s, %s]", plainText(rnd, depth-1), piece)
	case depth > 0:
		return fmt.Sprintf(`{"k": %s, %s: %s}`, plainText(rnd, depth-1), `"`+strings.Repeat(string(rune('a'+rnd.IntN(10))), 1+rnd.IntN(2)*1100)+`"`, piece)
	}
	return piece
}

// What we write, kombu reads as what it is; what kombu writes, we read as what it is;
// and each refuses to write what the other refuses.
func TestSerializersAsKombu(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"yaml", "msgpack", "pickle"} {
		t.Run(name, func(t *testing.T) {
			s, err := serializer.Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			texts := append([]string{}, plainPieces...)
			for range 400 {
				texts = append(texts, plainText(rnd, rnd.IntN(4)))
			}
			var asked []question
			var ours [][]byte
			for _, text := range texts {
				body, err := s.FromJSON([]byte(text))
				if err != nil {
					body = []byte("refused")
				}
				ours = append(ours, body)
				asked = append(asked, question{"load", name, string(body)}, question{"dump", name, text})
			}
			answers := askKombu(t, asked)
			for i, text := range texts {
				want := sortedJSON(t, []byte(text))
				read, written := answers[2*i], answers[2*i+1]
				if written == nil {
					if string(ours[i]) != "refused" {
						t.Errorf("%s: kombu does not write it, we do: %q", text, ours[i])
					}
					continue
				}
				if read == nil || *read != want {
					t.Errorf("%s: we write %q, kombu reads %v", text, ours[i], read)
				}
				back, err := s.ToJSON(decode64(t, *written))
				if err != nil || sortedJSON(t, back) != want {
					t.Errorf("%s: kombu writes %q, we read %s, %v", text, decode64(t, *written), back, err)
				}
			}
		})
	}
}

// yamlScalars is what documents are made of, to see that types are as PyYAML has them.
var yamlScalars = []string{
	"yes", "No", "ON", "off", "y", "n", "true", "True", "TRUE", "tRue", "null", "~", "Null", "nil", "0", "-0", "+1", "007", "08", "0o17", "0x1F", "0b101", "0b102", "1_000",
	"1e3", "1.e3", "1.0e3", "1.0e+3", ".5", "5.", "-.5", "+.5e-1", ".inf", "-.INF", "+.inf", ".nan", ".NaN", "inf", "nan", "12:30", "12:30:45", "1:2.5", "-1:30", "190:20:30.15", "60:61",
	"2001-12-14", "2001-1-4", "2001-12-14 21:59:43", "2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43Z", "2001-12-14 21:59:43.1 +2", "2001-13-14", "2001-02-30 00:00:00", "2001-12-14 24:00:00",
	"1_2:30", "0_1", "_1", "1__2", "0x", "0b_", "0_", "+", "-", ".", "..", "1.2.3", "1,2", "plain text", "a:b", "http://x/y", "'single ''q'''", `"double \x41 \u00e9 \n"`, "!!str 12", "!!int '12'", "!!float 1",
	"!!float '1e3'", "!!bool yes", "!!bool maybe", "!!null x", "!!binary aGk=", "!!binary 'aG k='", "!!binary 'a'", "!!timestamp '2001-12-14'", "!!timestamp x", "!!int x", "!!python/tuple [1]", "!!python/object/apply:os.system [id]",
	"!custom x", "! 12", "!!set {a}", "!!omap [a: 1, b: 2]", "!!pairs [a: 1, a: 2]", "!!seq [1]", "!!map {a: 1}", "[1, two, 3.0]", "{a: 1, b: [x]}", "{7: a, yes: b, 2.5: c}", "{[1]: a}", "{? a : b, c}", "[a: b]",
	"&x [1]", "*x", "&y {k: v}", "{<<: *y, l: w}", "{<<: [*y, {k: z}]}", "{k: own, <<: *y}", "{<<: 1}", `"a\
  b"`, "99999999999999999999", "-99999999999999999999", "0x_1", "1.5_0", "1e-7", "1E+22", "6.02e+23", "685_230.15e+03", "20:30:15.15", "'yes'", "\"12\"", "0777_7", "@x", "%x", "`x`", "é中", "\"\\U0001F600\"",
}

// A YAML document is read as PyYAML's safe_load reads it, and refused as there.
func TestYAMLAsPyYAML(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	documents := append([]string{}, yamlScalars...)
	for range 1500 {
		pick := func() string { return yamlScalars[rnd.IntN(len(yamlScalars))] }
		switch rnd.IntN(4) {
		case 0:
			documents = append(documents, fmt.Sprintf("a: %s\nb:\n- %s\n- %s\n", pick(), pick(), pick()))
		case 1:
			documents = append(documents, fmt.Sprintf("- &x %s\n- *x\n- {k: %s}\n", pick(), pick()))
		case 2:
			documents = append(documents, fmt.Sprintf("%s: %s\n", pick(), pick()))
		case 3:
			documents = append(documents, fmt.Sprintf("[%s, %s]", pick(), pick()))
		}
	}
	documents = append(documents, "a: 1\n---\nb: 2\n", "--- 1\n...\n", "%YAML 1.1\n--- yes\n", "\xef\xbb\xbfa: 1", "a: |\n  x\n  y\nb: >\n  f\n  g\n", "a: 'x\n\n  y'", "\xff\xfea\x00:\x00 \x001\x00")
	s, err := serializer.Lookup("yaml")
	if err != nil {
		t.Fatal(err)
	}
	var asked []question
	for _, text := range documents {
		asked = append(asked, question{"load", "yaml", text})
	}
	read := 0
	for i, want := range askKombu(t, asked) {
		got, err := s.ToJSON([]byte(documents[i]))
		switch {
		case want == nil && err != nil:
		case want != nil && err == nil && sortedJSON(t, got) == *want:
			read++
		case want == nil:
			t.Errorf("%q: PyYAML refuses it, we read %s", documents[i], got)
		default:
			t.Errorf("%q: we read %s, %v; PyYAML %s", documents[i], got, err, *want)
		}
	}
	if read < len(documents)/3 || read > len(documents)*3/4 {
		t.Errorf("PyYAML read %d of %d documents: the mixture is no good test", read, len(documents))
	}
}

func TestCompressionsAsKombu(t *testing.T) {
	t.Parallel()
	samples := []string{"", "a", `[[1, 2], {}, {"callbacks": null}]`, strings.Repeat("all work and no play ", 20000), string(randomBytes(100000))}
	var asked []question
	var names []string
	for _, name := range []string{"zlib", "gzip", "bzip2", "bzip", "lzma", "xz", "zstd", "zstandard", "brotli", "application/x-gzip", "application/zstd"} {
		for _, sample := range samples {
			packed, err := compression.Compress(name, []byte(sample))
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
			asked = append(asked, question{"unpack", name, string(packed)}, question{"pack", name, sample})
		}
	}
	answers := askKombu(t, asked)
	for i, name := range names {
		sample := samples[i%len(samples)]
		if answers[2*i] == nil || string(decode64(t, *answers[2*i])) != sample {
			t.Errorf("%s: kombu cannot unpack what we packed from %d bytes", name, len(sample))
		}
		if answers[2*i+1] == nil {
			t.Fatalf("%s: kombu does not have it", name)
		}
		plain, err := compression.Decompress(name, decode64(t, *answers[2*i+1]), 1<<20)
		if err != nil || string(plain) != sample {
			t.Errorf("%s: we cannot unpack what kombu packed from %d bytes: %v", name, len(sample), err)
		}
	}
}

func randomBytes(n int) []byte {
	rnd := rand.New(rand.NewPCG(7, 8))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}
