package pickle_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer/pickle"
	"github.com/apium/apium/protocol/serializer/plain"
)

// captured is a pickle of a real Python (scripts/capture_pickles.py).
type captured struct {
	Name     string
	Python   string
	Protocol int
	Pickle   string // base64
	Want     string // JSON
}

func captures(tb testing.TB) []captured {
	tb.Helper()
	raw, err := os.ReadFile("testdata/pickles.json")
	if err != nil {
		tb.Fatal(err)
	}
	var cases []captured
	if err := json.Unmarshal(raw, &cases); err != nil {
		tb.Fatal(err)
	}
	return cases
}

func (c *captured) data(tb testing.TB) []byte {
	tb.Helper()
	data, err := base64.StdEncoding.DecodeString(c.Pickle)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// sorted writes a JSON text with its keys in order: Python 2 has them in any.
func sorted(tb testing.TB, text []byte) string {
	tb.Helper()
	var v any
	if err := pyjson.Unmarshal(text, &v); err != nil {
		tb.Fatalf("%v in %.300s", err, text)
	}
	again, err := pyjson.Append(nil, v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(again)
}

func TestLoadCaptured(t *testing.T) {
	t.Parallel()
	for _, c := range captures(t) {
		data := c.data(t)
		v, err := pickle.Load(data)
		var got []byte
		if err == nil {
			got, err = plain.JSON(v, len(data))
		}
		if err != nil {
			t.Errorf("%s, protocol %d of Python %s: %v", c.Name, c.Protocol, c.Python, err)
			continue
		}
		same := string(got) == c.Want
		if c.Python == "2.7" {
			same = sorted(t, got) == sorted(t, []byte(c.Want))
		}
		if !same {
			t.Errorf("%s, protocol %d of Python %s:\n got %.600s\nwant %.600s", c.Name, c.Protocol, c.Python, got, c.Want)
		}
	}
}

// What Python pickled, read here, written here and read here again is the same.
func TestDumpCaptured(t *testing.T) {
	t.Parallel()
	for _, c := range captures(t) {
		v, err := plain.Parse([]byte(c.Want))
		if err != nil {
			t.Fatal(err)
		}
		data, err := pickle.Dump(v)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		v, err = pickle.Load(data)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if got, err := plain.JSON(v, len(data)); err != nil || string(got) != c.Want {
			t.Errorf("%s: %v\n got %.600s\nwant %.600s", c.Name, err, got, c.Want)
		}
	}
}

// hostile are pickles that would execute something in Python, or exhaust a reader.
var hostile = map[string]struct{ pickle, reason string }{
	"system":            {"cos\nsystem\n(S'touch /tmp/x'\ntR.", "os.system is not plain data"},
	"posix":             {"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", "posix.system is not plain data"},
	"eval":              {"c__builtin__\neval\n(S'1'\ntR.", "builtins.eval is not plain data"},
	"exec":              {"cbuiltins\nexec\n(S'1'\ntR.", "builtins.exec is not plain data"},
	"only named":        {"cos\nsystem\n.", "os.system is not plain data"},
	"named and dropped": {"cos\nsystem\n0N.", "os.system is not plain data"},
	"inst":              {"(S'id'\nios\nsystem\n.", "os.system is not plain data"},
	"obj":               {"(cos\nsystem\nS'id'\no.", "os.system is not plain data"},
	"newobj":            {"\x80\x02csubprocess\nPopen\nX\x02\x00\x00\x00id\x85\x81.", "subprocess.Popen is not plain data"},
	"newobj_ex":         {"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.", "os.system is not plain data"},
	"getattr":           {"cbuiltins\ngetattr\n(cbuiltins\nlist\nS'__class__'\ntR.", "builtins.getattr is not plain data"},
	"getattr of zone":   {"cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nS'__init__'\ntR.", "builtins.getattr is not plain data"},
	"dotted":            {"\x80\x04\x8c\x08datetime\x8c\x0dsys.modules.x\x93.", "datetime.sys.modules.x is not plain data"},
	"build":             {"cdatetime\ndate\n(S'\\x07\\xee\\x01\\x02'\ntR}b.", "an object with attributes is not plain data"},
	"build on dict":     {"}}S'__class__'\nN\x73b.", "an object with attributes is not plain data"},
	"reconstruct":       {"ccopy_reg\n_reconstructor\n(cos\nsystem\nNNtR.", "os.system is not plain data"},
	"class as value":    {"cbuiltins\nint\n.", "builtins.int is not plain data"},
	"class called":      {"cbuiltins\nint\n(S'1'\ntR.", "builtins.int is not plain data"},
	"complex":           {"cbuiltins\ncomplex\n(F1\nF2\ntR.", "builtins.complex is not plain data"},
	"persistent":        {"Pid\n.", `opcode 'P' at 0 is not for plain data`},
	"persistent binary": {"NQ.", `opcode 'Q' at 1 is not for plain data`},
	"extension":         {"\x82\x01.", "opcode '\\u0082' at 0 is not for plain data"},
	"next buffer":       {"\x80\x05\x97.", "opcode '\\u0097' at 2 is not for plain data"},
	"protocol 6":        {"\x80\x06N.", "unsupported protocol 6"},
	"call of a value":   {"N)R.", "a call of what is no class"},
	"no tuple":          {"cdecimal\nDecimal\nNR.", "arguments that are no tuple"},
	"zone file":         {"czoneinfo\nZoneInfo\n(S'../../etc/passwd'\ntR.", "unknown time zone"},
	"zone local":        {"czoneinfo\nZoneInfo\n(S'Local'\ntR.", "unknown time zone"},
	"zone as value":     {"cpytz\n_UTC\n(tR.", "a time zone is not plain data"},
	"uuid too large":    {"\x80\x02cuuid\nUUID\n)\x81}S'int'\nI-1\nsb.", "a UUID without a value"},
	"itself":            {"]q\x00h\x00a.", "contains itself"},
	"itself by a dict":  {"}q\x00S'a'\nh\x00s.", "contains itself"},
	"deep":              {strings.Repeat("]", 200000) + strings.Repeat("a", 199999) + ".", "nested too deep"},
	"bomb":              {"]q\x00(" + strings.Repeat("h\x00", 9) + "e" + bomb(60) + ".", ""},
	"long int":          {"\x8b\x00\x00\x01\x00" + strings.Repeat("\xff", 1<<16) + ".", "Exceeds the limit (4300 digits) for integer string conversion"},
	"long int text":     {"L" + strings.Repeat("9", 1<<20) + "L\n.", "Exceeds the limit (4300 digits) for integer string conversion: value has 1048576 digits"},
	"huge bytes":        {"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.", "it ends too early"},
	"negative":          {"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", "it ends too early"},
	"empty":             {"", "it has no end"},
	"only stop":         {".", "a value is missing"},
	"no mark":           {"t.", "a mark is missing"},
	"below the mark":    {"N(.", "a value is missing"},
	"odd":               {"}(Nu.", "a key without a value"},
	"append to none":    {"NNa.", "items for what is no list"},
	"no memo":           {"h\x07.", "nothing in the memo at 7"},
	"list key":          {"}]Ns.", "a dict's keys must be"},
	"bad text":          {"X\x01\x00\x00\x00\xff.", "text that is not UTF-8"},
	"bad date":          {"cdatetime\ndate\n(S'\\x00\\x00\\x00\\x00'\ntR.", "unexpected arguments for datetime.date"},
}

// bomb doubles a list, level after level.
func bomb(levels int) string {
	return strings.Repeat("q\x00]q\x01h\x00ah\x00ah\x01", levels)
}

func TestHostile(t *testing.T) {
	t.Parallel()
	for name, c := range hostile {
		v, err := pickle.Load([]byte(c.pickle))
		if err == nil {
			_, err = plain.JSON(v, len(c.pickle))
		}
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: error %v, want %q", name, err, c.reason)
		}
	}
}

// Copies of a long list are made in no time, or are counted.
func TestQuadratic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ item, step string }{
		"list": {"N", "cbuiltins\nlist\n(h\x00tRNa0"},
		"dict": {"NN\x86", "cbuiltins\ndict\n(h\x00tR0"},
	} {
		data := "](" + strings.Repeat(c.item, 1<<18) + "eq\x000" + strings.Repeat(c.step, 1<<18) + "N."
		var limit *pickle.Error
		if _, err := pickle.Load([]byte(data)); !errors.As(err, &limit) || !strings.Contains(limit.Reason, "more than") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, c := range captures(f) {
		if data := c.data(f); len(data) < 1000 {
			f.Add(data)
		}
	}
	for _, c := range hostile {
		if len(c.pickle) < 1000 {
			f.Add([]byte(c.pickle))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		record, err := pickle.LoadRecord(data)
		if err == nil {
			_, _ = plain.JSON(record, len(data)) // returns
		}
		v, err := pickle.Load(data)
		var failed *pickle.Error
		if err != nil {
			if !errors.As(err, &failed) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		text, err := plain.JSON(v, len(data))
		if err != nil {
			return
		}
		if err := pyjson.Valid(text); err != nil {
			return // deeper than pyjson goes
		}
		v, err = plain.Parse(text)
		if err != nil {
			return // a dict that looks like a __type__ object
		}
		again, err := pickle.Dump(v)
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if v, err = pickle.Load(again); err != nil {
			t.Fatalf("%v in %q", err, again)
		}
		if second, err := plain.JSON(v, len(again)); err != nil || sorted(t, second) != sorted(t, text) {
			t.Fatalf("%v\n got %s\nwant %s", err, second, text)
		}
	})
}
