package canvas_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// recipe says how scripts/capture_canvas.py built a canvas.
type recipe struct {
	Kind      string                     `json:"kind"`
	Task      string                     `json:"task"`
	Args      []json.RawMessage          `json:"args"`
	Kwargs    map[string]json.RawMessage `json:"kwargs"`
	Immutable bool                       `json:"immutable"`
	Options   json.RawMessage            `json:"options"`
	Of        []*recipe                  `json:"of"`
	Body      *recipe                    `json:"body"`
	Items     json.RawMessage            `json:"items"`
	N         int                        `json:"n"`
	Link      []*recipe                  `json:"link"`
	LinkError []*recipe                  `json:"link_error"`
}

func (r *recipe) build() canvas.Signature {
	var s canvas.Signature
	var items any
	if r.Items != nil {
		if err := pyjson.Unmarshal(r.Items, &items); err != nil {
			panic(err)
		}
	}
	switch r.Kind {
	case "sig":
		var args []any
		for _, arg := range r.Args {
			args = append(args, arg)
		}
		kwargs := map[string]any{}
		for name, value := range r.Kwargs {
			kwargs[name] = value
		}
		s = canvas.Sig(r.Task, args...).Kw(kwargs)
	case "chain":
		s = canvas.Chain(buildAll(r.Of)...)
	case "group":
		s = canvas.Group(buildAll(r.Of)...)
	case "chord":
		s = canvas.Chord(buildAll(r.Of), r.Body.build())
	case "map":
		s = canvas.Map(r.Of[0].build(), items)
	case "starmap":
		s = canvas.Starmap(r.Of[0].build(), items)
	case "chunks":
		s = canvas.Chunks(r.Of[0].build(), items, r.N)
	}
	s = s.Set(options(r.Options)...)
	if r.Immutable {
		s = s.Immutable()
	}
	return s.Link(buildAll(r.Link)...).LinkError(buildAll(r.LinkError)...)
}

// flat says whether there is a chain in it which only JSON can give: chain(...) never
// leaves a group before another step.
func (r *recipe) flat() bool {
	return r.Kind == "flat" || r.Body != nil && r.Body.flat() ||
		slices.ContainsFunc(slices.Concat(r.Of, r.Link, r.LinkError), (*recipe).flat)
}

func buildAll(recipes []*recipe) []canvas.Signature {
	sigs := make([]canvas.Signature, 0, len(recipes))
	for _, r := range recipes {
		sigs = append(sigs, r.build())
	}
	return sigs
}

// options reads options from a JSON object, in its order.
func options(raw []byte) (opts canvas.Options) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		return nil
	}
	for s.Next() {
		name := string(s.Key())
		var value any
		if err := pyjson.Unmarshal(s.Value(), &value); err != nil {
			panic(err)
		}
		opts = append(opts, canvas.Opt(name, value))
	}
	return opts
}

// did is what Celery did.
type did struct {
	Error    string            `json:"error"`
	Result   json.RawMessage   `json:"result"`
	Children []json.RawMessage `json:"children"`
	Steps    json.RawMessage   `json:"steps"`
}

// request is the task that was running.
type request struct {
	ID        string          `json:"id"`
	RootID    string          `json:"root_id"`
	Group     string          `json:"group"`
	Index     *int            `json:"group_index"`
	Nesting   int             `json:"replaced_task_nesting"`
	Callbacks json.RawMessage `json:"callbacks"`
	Errbacks  json.RawMessage `json:"errbacks"`
	Chain     json.RawMessage `json:"chain"`
	Chord     json.RawMessage `json:"chord"`
}

func (r *request) task() *protocol.Task {
	return &protocol.Task{
		ID: r.ID, RootID: r.RootID, GroupID: r.Group, GroupIndex: r.Index, ReplacedTaskNesting: r.Nesting,
		Embed: protocol.Embed{Callbacks: r.Callbacks, Errbacks: r.Errbacks, Chain: r.Chain, Chord: r.Chord},
	}
}

func testEnvironment(r *request, inherit bool) canvas.Environment {
	n := 0
	env := canvas.Environment{
		Now: time.Date(2030, 1, 2, 3, 4, 5, 678901000, time.UTC),
		NewID: func() string {
			n++
			return fmt.Sprintf("go-%d", n)
		},
		Origin: "gen1@host", ReplyTo: "producer", Lang: "py",
		Route: func(name string) canvas.Options {
			switch {
			case strings.HasPrefix(name, "routed."):
				return canvas.Options{canvas.Queue("other"), canvas.Priority(4)}
			case strings.HasPrefix(name, "keyed."):
				return canvas.Options{canvas.Exchange("ex"), canvas.RoutingKey("k")}
			}
			return nil
		},
	}
	if r != nil {
		env.ParentID, env.RootID = r.ID, r.RootID
		if inherit {
			priority := 3
			env.Priority = &priority
		}
	}
	return env
}

// readCases reads what was captured, from APIUM_CANVAS_CASES if that is set.
func readCases(t testing.TB, name string, into any) {
	t.Helper()
	dir := os.Getenv("APIUM_CANVAS_CASES")
	if dir == "" {
		dir = "testdata"
	}
	file, err := os.Open(filepath.Join(dir, name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(unzipped).Decode(into); err != nil {
		t.Fatal(err)
	}
}

type applyCase struct {
	Recipe   *recipe           `json:"recipe"`
	JSON     string            `json:"json"`
	Args     []json.RawMessage `json:"args"`
	Options  json.RawMessage   `json:"options"`
	Request  *request          `json:"request"`
	Inherit  bool              `json:"inherit"`
	OnHeader bool              `json:"onheader"`
	Built    did               `json:"built"`
	Decoded  *did              `json:"decoded"` // absent: as Built
}

func TestApply(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"systematic.json", "random.json", "flat.json"} {
		var cases []applyCase
		readCases(t, file, &cases)
		for i, c := range cases {
			t.Run(fmt.Sprintf("%s/%d", file, i), func(t *testing.T) {
				t.Parallel()
				testApply(t, &c)
			})
		}
	}
}

func testApply(t *testing.T, c *applyCase) {
	if !c.Recipe.flat() {
		testBuilt(t, c)
	}
	decoded, err := canvas.Decode([]byte(c.JSON))
	if err != nil {
		t.Fatalf("Decode %s: %v", c.JSON, err)
	}
	env := testEnvironment(c.Request, c.Inherit)
	env.ErrbacksOnHeader = c.OnHeader
	plan, err := canvas.Apply(decoded, c.Args, options(c.Options), env)
	want := &c.Built
	if c.Decoded != nil {
		want = c.Decoded
	}
	check(t, "decoded", c.JSON, plan, err, want)
}

func testBuilt(t *testing.T, c *applyCase) {
	built := c.Recipe.build()
	raw, err := json.Marshal(built)
	if err != nil {
		t.Fatalf("built: %v", err)
	}
	if got := string(built.Append(nil)); got != c.JSON {
		t.Errorf("built:\n got %s\nwant %s\n%s", got, c.JSON, raw)
	}
	env := testEnvironment(c.Request, c.Inherit)
	env.ErrbacksOnHeader = c.OnHeader
	plan, err := canvas.Apply(built, c.Args, options(c.Options), env)
	check(t, "built", c.JSON, plan, err, &c.Built)
}

func TestFollow(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Request *request `json:"request"`
		Inherit bool     `json:"inherit"`
		Message struct {
			Callbacks json.RawMessage `json:"callbacks"`
			Chain     json.RawMessage `json:"chain"`
		} `json:"message"`
		Did did `json:"did"`
	}
	readCases(t, "follow.json", &cases)
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			embed := protocol.Embed{Callbacks: c.Message.Callbacks, Chain: c.Message.Chain}
			plan, err := canvas.Follow(embed, []byte(`"the result"`), testEnvironment(c.Request, c.Inherit))
			check(t, "follow", string(c.Message.Callbacks)+string(c.Message.Chain), plan, err, &c.Did)
		})
	}
}

func TestErrbacks(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Request *request        `json:"request"`
		Message json.RawMessage `json:"message"`
		Did     did             `json:"did"`
	}
	readCases(t, "errbacks.json", &cases)
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			errbacks, err := canvas.DecodeList(c.Message)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := canvas.Errbacks(errbacks, c.Request.ID, c.Request.RootID, testEnvironment(c.Request, false))
			check(t, "errbacks", string(c.Message), plan, err, &c.Did)
		})
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	var cases []struct {
		How     string   `json:"how"`
		Recipe  *recipe  `json:"recipe"`
		Message *request `json:"message"`
		Did     did      `json:"did"`
	}
	readCases(t, "replace.json", &cases)
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			sig, env := c.Recipe.build(), testEnvironment(c.Message, false)
			apply := canvas.Replace
			if c.How == "add_to_chord" {
				apply = canvas.AddToChord
			}
			plan, err := apply(sig, c.Message.task(), env)
			check(t, c.How, string(sig.Append(nil)), plan, err, &c.Did)
		})
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Message *request `json:"message"`
		Did     struct {
			Failures json.RawMessage `json:"failures"`
		} `json:"did"`
	}
	readCases(t, "fail.json", &cases)
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			testFail(t, c.Message, c.Did.Failures)
		})
	}
}

func testFail(t *testing.T, message *request, want []byte) {
	var failures []canvas.Failure
	var err error
	if message.Chain != nil {
		failures, err = canvas.FailChain(message.Chain)
	} else {
		body, decodeErr := canvas.Decode(message.Chord)
		if decodeErr != nil {
			t.Fatal(decodeErr)
		}
		failures, err = canvas.FailBody(body, testEnvironment(nil, false).NewID)
	}
	if err != nil {
		t.Fatal(err)
	}
	did := []any{}
	for _, f := range failures {
		if len(f.Errbacks) > 0 {
			did = append(did, []any{"errbacks", f.TaskID, f.Errbacks})
		}
		did = append(did, []any{"store", f.TaskID})
		if f.Chord != nil {
			did = append(did, []any{"part", f.TaskID, f.GroupID, f.GroupIndex, f.Chord})
		}
	}
	got, err := pyjson.Append(nil, did)
	if err != nil {
		t.Fatal(err)
	}
	ids := idMap{there: map[string]string{}, back: map[string]string{}}
	if path := ids.differ("failures", decodeAny(t, got), decodeAny(t, want)); path != "" {
		t.Errorf("%s\ninput %s %s\ngot  %s\nwant %s", path, message.Chain, message.Chord, got, want)
	}
}
