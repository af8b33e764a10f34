package serializer_test

import (
	"strings"
	"testing"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer"
)

func lookup(tb testing.TB, name string) *serializer.Serializer {
	tb.Helper()
	s, err := serializer.Lookup(name)
	if err != nil || s == nil {
		tb.Fatalf("%s: %v, %v", name, s, err)
	}
	return s
}

func TestLookup(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "json", "application/json"} {
		if s, err := serializer.Lookup(name); s != nil || err != nil {
			t.Errorf("%q: %v, %v", name, s, err)
		}
	}
	for name, contentType := range map[string]string{"yaml": "application/x-yaml", "msgpack": "application/x-msgpack", "pickle": "application/x-python-serialize"} {
		if lookup(t, name) != lookup(t, contentType) || serializer.ByContentType(contentType).ContentType() != contentType {
			t.Errorf("%s is not %s", name, contentType)
		}
	}
	for name, want := range map[string]string{"auth": "signatures", "xml": `unknown serializer "xml"`} {
		if _, err := serializer.Lookup(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if serializer.ByContentType("application/json") != nil {
		t.Error("a serializer for JSON")
	}
	if _, err := serializer.Format("yaml", "rar"); err == nil {
		t.Error("rar is a compression")
	}
}

// What cannot be written is named, in the words of the Python library.
func TestRefusedValues(t *testing.T) {
	t.Parallel()
	const (
		decimal  = `[{"__type__": "decimal", "__value__": "1"}]`
		datetime = `{"a": {"__type__": "datetime", "__value__": "2030-01-02T03:04:05"}}`
	)
	for _, c := range []struct{ serializer, text, want string }{
		{"yaml", decimal, "yaml: cannot represent an object of type decimal.Decimal"},
		{"msgpack", decimal, "msgpack: can not serialize 'decimal.Decimal' object"},
		{"msgpack", datetime, "msgpack: can not serialize 'datetime.datetime' object"},
		{"msgpack", "18446744073709551616", "msgpack: Integer value out of range"},
		{"pickle", "[1", "Expecting"},
		{"yaml", `{"__type__": "date", "__value__": 1}`, "bad __value__ for __type__ date"},
		{"msgpack", `["caf\udce9"]`, "msgpack: 'utf-8' codec can't encode characters: surrogates not allowed"},
	} {
		if _, err := lookup(t, c.serializer).FromJSON([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %s: %v, want %q", c.serializer, c.text, err, c.want)
		}
	}
}

// Bodies that are made to exhaust or confuse a reader.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	laughs := "a0: &a0 [lol, lol]\n"
	merges := "a0: &a0 {}\n"
	for i := range 60 {
		level := string(rune('0'+(i+1)/10)) + string(rune('0'+(i+1)%10))
		before := string(rune('0'+i/10)) + string(rune('0'+i%10))
		if i == 0 {
			before = "0"
		}
		laughs += "a" + level + ": &a" + level + " [*a" + before + ", *a" + before + "]\n"
		merges += "a" + level + ": &a" + level + " {<<: [*a" + before + ", *a" + before + "]}\n"
	}
	for name, c := range map[string]struct{ serializer, body, want string }{
		"laughs":            {"yaml", laughs, "too large"},
		"merges":            {"yaml", merges, "too many members"},
		"itself":            {"yaml", "&a [*a]", "contains itself"},
		"deep":              {"yaml", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "deep"},
		"deeper":            {"yaml", strings.Repeat("[", 1<<17), ""},
		"object":            {"yaml", "!!python/object/apply:os.system ['id']", "could not determine a constructor"},
		"long":              {"yaml", strings.Repeat(" ", 17<<20), "more than"},
		"long int":          {"yaml", strings.Repeat("9", 1<<20), "Exceeds the limit (4300 digits) for integer string conversion: value has 1048576 digits"},
		"long hex":          {"yaml", "0x" + strings.Repeat("f", 4000), "Exceeds the limit (4300 digits) for integer string conversion"},
		"documents":         {"yaml", "a: 1\n---\nb: 2", "more than one document"},
		"array of nothing":  {"msgpack", "\xdd\xff\xff\xff\xff", "msgpack: "},
		"map of nothing":    {"msgpack", "\xdf\xff\xff\xff\xff", "msgpack: "},
		"text of nothing":   {"msgpack", "\xdb\xff\xff\xff\xffx", "msgpack: "},
		"bytes of nothing":  {"msgpack", "\xc6\xff\xff\xff\xffx", "msgpack: "},
		"array in an array": {"msgpack", strings.Repeat("\x91", 5000) + "\xc0", "nested too deep"},
		"extension":         {"msgpack", "\xd4\x05\x00", "is not plain data"},
		"never used":        {"msgpack", "\xc1", "is not plain data"},
		"int key":           {"msgpack", "\x81\x01\x02", "a key that is neither str nor bytes"},
		"rest":              {"msgpack", "\xc0\xc0", "1 bytes too many"},
		"bad text":          {"msgpack", "\xa1\xff", "not UTF-8"},
		"empty":             {"msgpack", "", "msgpack: "},
	} {
		if _, err := lookup(t, c.serializer).ToJSON([]byte(c.body)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// msgpack's timestamps are read, though Python's msgpack does not write them unasked.
func TestMsgpackTimestamp(t *testing.T) {
	t.Parallel()
	got, err := lookup(t, "msgpack").ToJSON([]byte("\xd6\xff\x00\x00\x00\x01"))
	if want := `{"__type__": "datetime", "__value__": "1970-01-01T00:00:01+00:00"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

// Records hold exceptions as objects in pickle, and as they are elsewhere.
func TestRecords(t *testing.T) {
	t.Parallel()
	for _, exception := range []string{
		`{"exc_type": "ValueError", "exc_message": ["bad", 1], "exc_module": "builtins"}`,
		`{"exc_type": "OutOfStock", "exc_message": ["pen"], "exc_module": "shop"}`,
	} {
		record := `{"status": "FAILURE", "result": ` + exception + `, "traceback": null, "children": [], "date_done": null, "task_id": "i"}`
		for _, name := range []string{"yaml", "msgpack", "pickle"} {
			s := lookup(t, name)
			stored, err := s.RecordFromJSON([]byte(record))
			if err != nil {
				t.Fatal(err)
			}
			if object := strings.Contains(string(stored), "cexceptions\nValueError\n"); object != (name == "pickle" && strings.Contains(exception, "ValueError")) {
				t.Errorf("%s: %q", name, stored)
			}
			got, err := s.RecordToJSON(stored)
			if err != nil || string(got) != record {
				t.Errorf("%s: %s, %v", name, got, err)
			}
		}
	}
	// An object that is no exception is none in a message.
	if _, err := lookup(t, "pickle").ToJSON([]byte("cexceptions\nValueError\n(S'x'\ntR.")); err == nil {
		t.Error("a message with an exception is read")
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"json", "yaml", "msgpack", "pickle"} {
		for _, compress := range []string{"", "zlib", "zstd"} {
			format, err := serializer.Format(name, compress)
			if err != nil {
				t.Fatal(err)
			}
			task := &protocol.Task{Name: "t", ID: "i", RoutingKey: "q", Args: []byte(`[1, "two"]`), Kwargs: []byte(`{"k": 2.0}`)}
			message, err := protocol.EncodeTask(task, protocol.Publication{Format: format})
			if err != nil {
				t.Fatal(err)
			}
			accept, err := protocol.NewAccept(name)
			if err != nil {
				t.Fatal(err)
			}
			d := protocol.Decoder{Accept: accept, Serializer: serializer.ByContentType, Decompress: compression.Decompress}
			got, err := d.Decode(envelopetest.Open(envelopetest.Encode(message, "", "q", "tag")))
			if err != nil || string(got.Args) != string(task.Args) || string(got.Kwargs) != string(task.Kwargs) {
				t.Errorf("%s, %q: %+v, %v", name, compress, got, err)
			}
		}
	}
}

func fuzz(f *testing.F, name string, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	s := lookup(f, name)
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := s.ToJSON(body)
		if err != nil || pyjson.CheckTypes(text) != nil || pyjson.Valid(text) != nil {
			return
		}
		again, err := s.FromJSON(text)
		if err != nil {
			return // a time of day as key is one in JSON only
		}
		second, err := s.ToJSON(again)
		if err != nil || string(second) != string(text) {
			t.Fatalf("%v\n%s became\n%s by %q", err, text, second, again)
		}
	})
}

func FuzzMsgpack(f *testing.F) {
	fuzz(f, "msgpack", "\x93\x01\xa1a\xc0", "\x81\xa1a\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "\xc4\x02\xff\x00", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xd6\xff\x00\x00\x00\x01", "\xdd\xff\xff\xff\xff")
}

func FuzzYAML(f *testing.F) {
	fuzz(f, "yaml", "a: [1, yes, 2.5]\n", "&a {x: *a}", "!!binary aGk=", "- 2001-12-14 21:59:43.1 +2\n- 12:30:45\n", "{<<: {a: 1}, ? [1] : 2}", "a: |\n  x\n", "!!set {a, b}", "- !!omap [a: 1]\n")
}
