package protocol_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer"
)

func TestDecodeCapturedTasks(t *testing.T) {
	t.Parallel()
	for _, version := range captures(t) {
		for _, c := range load[[]messageCase](t, version, "messages.json") {
			t.Run(version+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				for _, e := range c.Entries {
					task, err := (&protocol.Decoder{Decompress: compression.Decompress}).Decode(envelopetest.Open([]byte(e.Raw)))
					if e.Want.Error != "" {
						var refused *protocol.ContentDisallowedError
						if !errors.As(err, &refused) || refused.ContentType != e.Want.ContentType {
							t.Errorf("%s: got error %v, want %s refused", c.Call, err, e.Want.ContentType)
						}
						continue
					}
					if err != nil {
						t.Fatalf("%s: %v", c.Call, err)
					}
					checkTask(t, task, e.Want)
				}
			})
		}
	}
}

// TestDecodeCapturedPickles reads the messages that are refused without accept_content.
func TestDecodeCapturedPickles(t *testing.T) {
	t.Parallel()
	accept, err := protocol.NewAccept("pickle")
	if err != nil {
		t.Fatal(err)
	}
	d := protocol.Decoder{Accept: accept, Serializer: serializer.ByContentType}
	n := 0
	for _, version := range captures(t) {
		for _, c := range load[[]messageCase](t, version, "messages.json") {
			for _, e := range c.Entries {
				if e.Want.ContentType != protocol.ContentTypePickle {
					continue
				}
				n++
				task, err := d.Decode(envelopetest.Open([]byte(e.Raw)))
				if err != nil || string(task.Args) != "[2, 3]" || string(task.Kwargs) != "{}" || !strings.HasSuffix(task.Name, ".add") {
					t.Errorf("%s, %s: %+v, %v", version, c.Name, task, err)
				}
			}
		}
	}
	if n < 7 {
		t.Errorf("%d pickles", n)
	}
}

func checkTask(t *testing.T, task *protocol.Task, want wanted) {
	t.Helper()
	got := wanted{
		Protocol: task.Protocol, Name: task.Name, ID: task.ID,
		Args: string(task.Args), Kwargs: string(task.Kwargs),
		Priority: task.Priority, Retries: task.Retries,
		TimeLimit: task.TimeLimit.Seconds(), SoftTimeLimit: task.SoftTimeLimit.Seconds(),
		RoutingKey: task.RoutingKey, Headers: customHeaders(t, task, want.Headers), Shadow: task.Shadow,
		IgnoreResult: task.IgnoreResult != nil && *task.IgnoreResult,
		Callbacks:    taskNames(t, task.Embed.Callbacks),
		Errbacks:     taskNames(t, task.Embed.Errbacks),
		Chain:        taskNames(t, task.Embed.Chain),
		HasGroup:     task.GroupID != "", GroupIndex: task.GroupIndex,
		StampedHeaders: task.StampedHeaders,
	}
	if names := taskNames(t, task.Embed.Chord); names != nil {
		got.Chord = names[0]
	}
	if want.ID == "" { // random
		got.ID = ""
	}
	if want.RoutingKey == "" {
		want.RoutingKey = "celery"
	}
	between(t, "ETA", task.ETA, want.ETA, want.ETAFrom, want.ETATo)
	between(t, "expires", task.Expires, want.Expires, want.ExpiresFrom, want.ExpiresTo)
	want.ETA, want.ETAFrom, want.ETATo = nil, nil, nil
	want.Expires, want.ExpiresFrom, want.ExpiresTo = nil, nil, nil
	slices.Sort(got.StampedHeaders) // Celery keeps them as a set
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// between checks a date that is known, or known to lie between two others.
func between(t *testing.T, name string, got time.Time, want, from, to *time.Time) {
	t.Helper()
	switch {
	case want != nil:
		if !got.Equal(*want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	case from != nil:
		if got.Before(*from) || got.After(*to) {
			t.Errorf("%s is %v, want it between %v and %v", name, got, from, to)
		}
	case !got.IsZero():
		t.Errorf("%s is %v, want none", name, got)
	}
}

// taskNames returns the tasks of the signatures in raw, an array or a single one.
func taskNames(t *testing.T, raw []byte) []string {
	t.Helper()
	var names []string
	for _, s := range signatures(t, raw) {
		names = append(names, s.Task)
	}
	return names
}

// signatures decodes an array of signatures, or a single one in its place.
func signatures(t *testing.T, raw []byte) (list []*protocol.Signature) {
	t.Helper()
	one := func(raw []byte) {
		sig, err := protocol.DecodeSignature(raw)
		if err != nil {
			t.Fatalf("signature %s: %v", raw, err)
		}
		list = append(list, sig)
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	s := pyjson.NewScanner(raw)
	if !s.Enter('[') {
		one(raw)
		return list
	}
	for s.Next() {
		one(s.Value())
	}
	if err := s.End(); err != nil {
		t.Fatalf("signatures %s: %v", raw, err)
	}
	return list
}

// customHeaders returns those of the wanted headers that the task has.
func customHeaders(t *testing.T, task *protocol.Task, want map[string]string) map[string]string {
	t.Helper()
	var got map[string]string
	s := pyjson.NewScanner(task.Headers)
	if s.Enter('{') {
		for s.Next() {
			key := string(s.Key())
			if _, ok := want[key]; ok {
				if got == nil {
					got = map[string]string{}
				}
				got[key] = string(s.Value())
			}
		}
	}
	return got
}

func TestDecodeMalformed(t *testing.T) {
	t.Parallel()
	for _, c := range load[[]malformedCase](t, "malformed", "messages.json") {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			_, err := envelopetest.DecodeTask([]byte(c.Raw), protocol.Accept{})
			if got, want := verdict(err), pythonVerdict(c); got != want {
				t.Errorf("got %s (%v), want %s: Python's log is %q", got, err, want, c.Log)
			}
		})
	}
}

// verdict names what a worker does with a message that was decoded with err.
func verdict(err error) string {
	var (
		decode     *protocol.DecodeError
		disallowed *protocol.ContentDisallowedError
		invalid    *protocol.InvalidTaskError
	)
	switch {
	case err == nil:
		return "run"
	case errors.Is(err, protocol.ErrUnknownMessage):
		return "unknown"
	case errors.As(err, &decode):
		return "ack"
	case errors.As(err, &disallowed), errors.As(err, &invalid):
		return "reject"
	default:
		return err.Error()
	}
}

// pythonVerdict reads it from the Python worker's log. What ends a Python worker is
// acknowledged here.
func pythonVerdict(c malformedCase) string {
	log := strings.Join(c.Log, "\n")
	switch {
	case c.Name == "kwargs_list": // runs into a bug there, which stores nothing
		return "reject"
	case c.Name == "unknown_json_type": // a Python worker may know it; the handler decides
		return "run"
	case c.Crashed, strings.Contains(log, "Can't decode message body"):
		return "ack"
	case strings.Contains(log, "Received invalid task message"):
		return "reject"
	case strings.Contains(log, "unknown message"):
		return "unknown"
	default:
		return "run"
	}
}

// message builds an envelope around headers and a plain body.
func message(headers, body string) []byte {
	quoted, err := pyjson.Append(nil, body)
	if err != nil {
		panic(err)
	}
	return []byte(`{"body": ` + string(quoted) + `, "content-type": "application/json", "content-encoding": "utf-8",
		"headers": ` + headers + `, "properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "q"}}}`)
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	const ok = `[[], {}, {}]`
	good := string(message(`{"task": "a", "id": "1"}`, ok))
	for name, c := range map[string]struct {
		raw  string
		want string
	}{
		"no properties":        {strings.Replace(good, `"properties"`, `"props"`, 1), "cannot decode properties: missing"},
		"no delivery tag":      {strings.Replace(good, `"delivery_tag"`, `"tag"`, 1), "cannot decode properties.delivery_tag: missing"},
		"no delivery info":     {strings.Replace(good, `"delivery_info"`, `"info"`, 1), "cannot decode properties.delivery_info: missing or not a JSON object"},
		"no routing key":       {strings.Replace(good, `"routing_key"`, `"key"`, 1), "cannot decode properties.delivery_info.routing_key: missing"},
		"no content type":      {strings.Replace(good, `"content-type"`, `"type"`, 1), "cannot decode content-type: missing"},
		"headers a list":       {string(message(`[1]`, ok)), "cannot decode headers: not a JSON object"},
		"invalid UTF-8":        {strings.Replace(good, `"1"`, "\"\xff\"", 1), "cannot decode envelope: invalid UTF-8"},
		"no id":                {string(message(`{"task": "a"}`, ok)), "cannot decode headers.id: missing"},
		"two elements":         {string(message(`{"task": "a", "id": "1"}`, `[[], {}]`)), "cannot decode body: expected 3 elements, got 2"},
		"embed a list":         {string(message(`{"task": "a", "id": "1"}`, `[[], {}, [1]]`)), "cannot decode body: its third element is not an object"},
		"empty body":           {string(message(`{"task": "a", "id": "1"}`, ``)), "cannot decode body: empty"},
		"body a string":        {string(message(`{"task": "a", "id": "1"}`, `"args"`)), "cannot decode body: neither an array nor an object"},
		"object without args":  {string(message(`{"task": "a", "id": "1"}`, `{}`)), "cannot decode body: an object without args"},
		"text":                 {strings.Replace(good, "application/json", "application/data", 1), "cannot decode body: content type application/data is not supported"},
		"limits":               {string(message(`{"task": "a", "id": "1", "timelimit": [1]}`, ok)), "invalid timelimit value [1]: expected two values"},
		"limits of text":       {string(message(`{"task": "a", "id": "1", "timelimit": ["x", null]}`, ok)), "invalid timelimit value ['x', None]: not a number of seconds"},
		"limits a number":      {string(message(`{"task": "a", "id": "1", "timelimit": 10}`, ok)), "invalid timelimit value 10: not a list"},
		"kwargs":               {string(message(`{"task": "a", "id": "1"}`, `[[], [1], {}]`)), "Task keyword arguments must be a mapping"},
		"kwargs in protocol 1": {string(message(`{}`, `{"task": "a", "id": "1", "kwargs": [1]}`)), "Task keyword arguments must be a mapping"},
		"args":                 {string(message(`{"task": "a", "id": "1"}`, `[null, {}, {}]`)), "a() argument after * must be an iterable, not NoneType"},
		"args a number":        {string(message(`{"task": "a", "id": "1"}`, `[1.5, {}, {}]`)), "a() argument after * must be an iterable, not float"},
		"embed text":           {string(message(`{"task": "a", "id": "1"}`, `[[], {}, "x"]`)), "cannot decode body: its third element is not an object"},
		"nothing":              {string(message(`{}`, `null`)), "unknown message: no task in its headers or body"},
	} {
		_, err := envelopetest.DecodeTask([]byte(c.raw), protocol.Accept{})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// What producers in PHP or JavaScript write, and a Python worker takes.
func TestDecodeDuckTypes(t *testing.T) {
	t.Parallel()
	const name = `"task": "a", "id": "1"`
	for _, c := range []struct {
		headers, body string
		want          protocol.Task
	}{
		{`{` + name + `}`, `[[1], [], []]`, protocol.Task{}},
		{`{` + name + `}`, `[[1], null, null]`, protocol.Task{}},
		{`{` + name + `}`, `[[1], {}, ""]`, protocol.Task{}},
		{`{` + name + `}`, `[[1], {}, {"callbacks": [], "errbacks": 0, "chain": "", "chord": false}]`, protocol.Task{}},
		{`{}`, `{` + name + `, "args": [1], "kwargs": [], "callbacks": []}`, protocol.Task{}},
		{`{` + name + `}`, `[{"b": 1, "\u0061": 2, "b": 3}, {}, {}]`, protocol.Task{Args: []byte(`["b", "a"]`)}},
		{`{` + name + `}`, `["a\udce9\u00e9", {}, {}]`, protocol.Task{Args: []byte(`["a", "\udce9", "\u00e9"]`)}},
		{`{}`, `{` + name + `, "args": {}}`, protocol.Task{Args: []byte(`[]`)}},
		{`{` + name + `, "retries": "0"}`, `[[1], {}, {}]`, protocol.Task{}},
		{`{` + name + `, "retries": " 2 ", "group_index": "3", "replaced_task_nesting": "1"}`, `[[1], {}, {}]`, protocol.Task{Retries: 2, ReplacedTaskNesting: 1}},
		{`{` + name + `, "retries": true}`, `[[1], {}, {}]`, protocol.Task{Retries: 1}},
		{`{` + name + `, "retries": 2.9}`, `[[1], {}, {}]`, protocol.Task{Retries: 2}},
		{`{` + name + `, "retries": []}`, `[[1], {}, {}]`, protocol.Task{}},
		{`{` + name + `, "timelimit": ["10", "1.5"]}`, `[[1], {}, {}]`, protocol.Task{TimeLimit: 10 * time.Second, SoftTimeLimit: 1500 * time.Millisecond}},
		{`{` + name + `, "timelimit": ["", 0]}`, `[[1], {}, {}]`, protocol.Task{}},
		{`{` + name + `, "timelimit": []}`, `[[1], {}, {}]`, protocol.Task{}},
		{`{` + name + `, "timelimit": {}}`, `[[1], {}, {}]`, protocol.Task{}},
		{`{` + name + `, "ignore_result": 1}`, `[[1], {}, {}]`, protocol.Task{IgnoreResult: new(bool)}},
	} {
		got, err := envelopetest.DecodeTask(message(c.headers, c.body), protocol.Accept{})
		if err != nil {
			t.Errorf("%s %s: %v", c.headers, c.body, err)
			continue
		}
		if c.want.Args == nil {
			c.want.Args = []byte("[1]")
		}
		if string(got.Args) != string(c.want.Args) || string(got.Kwargs) != "{}" || got.Retries != c.want.Retries ||
			got.ReplacedTaskNesting != c.want.ReplacedTaskNesting || got.TimeLimit != c.want.TimeLimit ||
			got.SoftTimeLimit != c.want.SoftTimeLimit || (got.IgnoreResult != nil && *got.IgnoreResult) != (c.want.IgnoreResult != nil) ||
			got.Embed.Callbacks != nil || got.Embed.Errbacks != nil || got.Embed.Chain != nil || got.Embed.Chord != nil {
			t.Errorf("%s %s: got %+v with arguments %s and %s", c.headers, c.body, got, got.Args, got.Kwargs)
		}
	}
}

func TestDecodeHybrid(t *testing.T) {
	t.Parallel()
	raw := message(`{"task": "a", "id": "1", "retries": 3, "root_id": null}`,
		`{"args": [1], "kwargs": {"k": 2}, "id": "other", "root_id": "r", "retries": 1, "callbacks": [{"task": "b"}], "taskset": "g"}`)
	got, err := envelopetest.DecodeTask(raw, protocol.Accept{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Protocol != 2 || got.ID != "1" || got.RootID != "r" || got.Retries != 3 || got.GroupID != "g" ||
		string(got.Args) != "[1]" || string(got.Kwargs) != `{"k": 2}` || taskNames(t, got.Embed.Callbacks)[0] != "b" {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeLocation(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	for body, want := range map[string]time.Time{
		`{"task": "a", "id": "1", "utc": false, "eta": "2030-01-02T03:04:05"}`:       time.Date(2030, 1, 2, 3, 4, 5, 0, zone),
		`{"task": "a", "id": "1", "utc": true, "eta": "2030-01-02T03:04:05"}`:        time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		`{"task": "a", "id": "1", "utc": false, "eta": "2030-01-02T03:04:05+00:00"}`: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		d := protocol.Decoder{Location: zone}
		got, err := d.Decode(envelopetest.Open(message(`{}`, body)))
		if err != nil || !got.ETA.Equal(want) {
			t.Errorf("%s: got %v, %v", body, got, err)
		}
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	if _, err := protocol.NewAccept("jsn"); err == nil {
		t.Error("an unknown serializer is accepted")
	}
	accept, err := protocol.NewAccept("yaml", "application/x-mine")
	if err != nil {
		t.Fatal(err)
	}
	for contentType, want := range map[string]bool{
		"application/x-yaml": true, "application/x-mine": true, "application/data": true, "application/text": true,
		"application/json": false, "": false,
	} {
		if got := accept.Accepts(contentType); got != want {
			t.Errorf("accepts %q: %v", contentType, got)
		}
	}
	if (protocol.Accept{}).Accepts("application/x-yaml") || !(protocol.Accept{}).Accepts("application/json") {
		t.Error("the default is not JSON only")
	}
}

func BenchmarkDecodeTask(b *testing.B) {
	raw := []byte(load[[]messageCase](b, newest, "messages.json")[0].Entries[0].Raw)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelopetest.DecodeTask(raw, protocol.Accept{}); err != nil {
			b.Fatal(err)
		}
	}
}
