package compat_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/andybalholm/brotli"
)

// ingest is what Sentry is to its SDKs: it takes envelopes.
type ingest struct {
	url string

	mu    sync.Mutex
	items []report
	wrong []string // requests that are none
}

// report is an event, or a transaction, as far as it is compared.
type report struct {
	Type        string // in the item's header
	Op          string // of a span
	Description string
	Origin      string
	Status      string
	SpanID      string `json:"span_id"`
	Parent      string `json:"parent_span_id"`
	Data        map[string]any
	Transaction string
	Info        struct{ Source string } `json:"transaction_info"`
	Contexts    struct {
		Trace struct {
			ID     string `json:"trace_id"`
			SpanID string `json:"span_id"`
			Parent string `json:"parent_span_id"`
			Op     string
			Status string
		}
		Job map[string]any `json:"celery-job"`
	}
	Extra       map[string]map[string]any // Python's place for celery-job
	Tags        map[string]string
	Level       string
	Fingerprint []string
	Exception   json.RawMessage // a list in Go, and an object with one in Python
	Breadcrumbs json.RawMessage // likewise
	Spans       []report
	Sampling    map[string]string `json:"-"` // in the envelope's header
}

// startIngest starts a server that takes what is reported to it.
func startIngest(t *testing.T) *ingest {
	t.Helper()
	in := &ingest{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		items, err := reportsIn(r)
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.items = append(in.items, items...); err != nil {
			in.wrong = append(in.wrong, r.URL.Path+": "+err.Error())
		}
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(server.Close)
	in.url = "http://public@" + server.Listener.Addr().String() + "/1"
	return in
}

// reportsIn reads the events and transactions of a request.
func reportsIn(r *http.Request) (items []report, err error) {
	if r.URL.Path != "/api/1/envelope/" {
		return nil, errors.New("no place for envelopes")
	}
	body := io.Reader(r.Body)
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		if body, err = gzip.NewReader(r.Body); err != nil {
			return nil, err
		}
	case "br":
		body = brotli.NewReader(r.Body)
	}
	in := bufio.NewReader(body)
	head := struct{ Trace map[string]string }{}
	if err := line(in, &head); err != nil {
		return nil, err
	}
	for {
		item := struct {
			Type   string
			Length int64
		}{Length: -1}
		if err := line(in, &item); errors.Is(err, io.EOF) {
			return items, nil
		} else if err != nil {
			return nil, err
		}
		var raw []byte
		if item.Length < 0 {
			raw, err = in.ReadBytes('\n')
		} else {
			raw, err = io.ReadAll(io.LimitReader(in, item.Length))
			_, _ = in.ReadString('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if item.Type != "event" && item.Type != "transaction" {
			continue
		}
		one := report{}
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, fmt.Errorf("%w in %s", err, raw)
		}
		one.Type, one.Sampling = item.Type, head.Trace
		items = append(items, one)
	}
}

// line reads a line of JSON.
func line(in *bufio.Reader, into any) error {
	raw, err := in.ReadBytes('\n')
	if raw = bytes.TrimSpace(raw); len(raw) == 0 {
		if err == nil {
			err = errors.New("an empty line")
		}
		return err
	}
	return json.Unmarshal(raw, into)
}

func (in *ingest) all(t *testing.T) []report {
	t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.wrong) > 0 {
		t.Fatalf("not envelopes: %q", in.wrong)
	}
	return slices.Clone(in.items)
}

// TestSentry: a Go worker with sentrytasks reports what a Python worker reports with Sentry's SDK, and traces go on from one
// to the other.
func TestSentry(t *testing.T) {
	t.Parallel()
	a, in := startRedis(t).app(), startIngest(t)
	a.module, a.variables = "reported", []string{"SENTRY_DSN=" + in.url}
	theirs := a.startWorker(t, "-Q", "theirs")
	program := filepath.Join(t.TempDir(), "reported")
	command(t, "", nil, "go", "build", "-o", program, "./testdata/reported")
	ours := launchProgram(t, program, a, "-Q", "ours")
	ours.waitLog(t, " ready.")
	a.run(t, nil, "import reported; reported.publish()")
	both := [3]int{2 * 17, 2 * 29, 2 * 5} // cases, runs and events: what reported.py publishes, to each worker
	eventually(t, patience, "all is reported", func() bool {
		n := counted(in.all(t))
		return n[0] >= both[0] && n[1] >= both[1] && n[2] >= both[2]
	})
	for _, worker := range []*process{theirs, ours} {
		worker.signal(t, syscall.SIGTERM)
	}
	for _, worker := range []*process{theirs, ours} {
		if code := worker.exitCode(t); code != 0 {
			t.Errorf("%s ends with %d", worker.name, code)
		}
	}
	all := in.all(t)
	if n := counted(all); n != both {
		t.Errorf("%d cases, runs and events, not %d", n, both)
	}
	trees := map[string]map[string]string{"theirs": {}, "ours": {}}
	for _, root := range all {
		if root.Contexts.Trace.Op != "case" {
			continue
		}
		queue, name, _ := strings.Cut(root.Transaction, " ")
		root.Transaction = name
		tree := strings.ReplaceAll(strings.Join(treeOf(root, all), "\n"), "messaging.destination.name:"+queue, "messaging.destination.name:theirs")
		if name == "chord" {
			tree = withoutSubmit(tree)
		}
		trees[queue][name] = tree
		for _, one := range all { // whatever decided that the trace is sampled goes on, also through Go to Python
			if one.Extra != nil && one.Contexts.Trace.ID == root.Contexts.Trace.ID && one.Sampling["sample_rand"] != root.Sampling["sample_rand"] {
				t.Errorf("%s: %s is sampled by %v, which began as %v", name, one.Transaction, one.Sampling, root.Sampling)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(trees["theirs"])) {
		if want, got := trees["theirs"][name], trees["ours"][name]; got != want {
			t.Errorf("%s:\nPython\n%s\nApium\n%s", name, want, got)
		}
	}
}

// counted are how many cases, runs and events there are.
func counted(all []report) (n [3]int) {
	for _, one := range all {
		switch {
		case one.Type == "event":
			n[2]++
		case one.Contexts.Trace.Op == "case":
			n[0]++
		default:
			n[1]++
		}
	}
	return n
}

// withoutSubmit is the tree of a chord without its levels, and without the spans of sending the body: Apium publishes that when it
// writes what has become of the last part, whose transaction is finished by then.
func withoutSubmit(tree string) string {
	var lines []string
	for line := range strings.SplitSeq(tree, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "queue.submit.celery reported.total ") && !strings.HasPrefix(line, "queue.publish reported.total ") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// treeOf are a transaction's lines, and those of what is below it.
func treeOf(one report, all []report) []string {
	trace := one.Contexts.Trace
	text := fmt.Sprint(one.Type, " ", trace.Op, " ", one.Transaction, " ", one.Info.Source, " ", trace.Status)
	if trace.Op != "case" {
		text += fmt.Sprint(" ", jobOf(one), " ", tagsOf(one))
	}
	var below []report
	for _, other := range all {
		if of := other.Contexts.Trace; other.Type == "event" && of.SpanID == trace.SpanID {
			below = append(below, other)
		}
	}
	return append([]string{text}, indented(below, trace.SpanID, one.Spans, all)...)
}

// spanLines are a span's lines, and those of what is below it.
func spanLines(one report, spans, all []report) []string {
	if one.Op == "queue.submit.celery" { // which Python makes twice: of apply_async, and of send_task in it
		for _, inner := range spans {
			if inner.Parent == one.SpanID && inner.Op == one.Op {
				return spanLines(inner, spans, all)
			}
		}
	}
	data := map[string]any{}
	for key, value := range one.Data {
		if key == "messaging.message.receive.latency" {
			value = value.(float64) >= 0 && value.(float64) < float64(patience.Milliseconds())
		}
		if !strings.HasPrefix(key, "thread.") {
			data[key] = value
		}
	}
	text := fmt.Sprint(one.Op, " ", one.Description, " ", one.Origin, " ", one.Status, " ", data)
	return append([]string{uuids.ReplaceAllString(text, "UUID")}, indented(nil, one.SpanID, spans, all)...)
}

// indented are the lines of what is below a span: events, other spans of the transaction and transactions.
func indented(below []report, id string, spans, all []report) (lines []string) {
	var blocks []string
	for _, event := range below {
		blocks = append(blocks, eventLine(event))
	}
	for _, span := range spans {
		if span.Parent == id {
			blocks = append(blocks, strings.Join(spanLines(span, spans, all), "\n"))
		}
	}
	for _, other := range all {
		if other.Type == "transaction" && other.Contexts.Trace.Parent == id {
			blocks = append(blocks, strings.Join(treeOf(other, all), "\n"))
		}
	}
	slices.Sort(blocks)
	for _, block := range blocks {
		for line := range strings.SplitSeq(block, "\n") {
			lines = append(lines, "  "+line)
		}
	}
	return lines
}

// values reads a list that stands in an object in Python.
func values[T any](raw json.RawMessage) (list []T) {
	var object struct{ Values []T }
	if json.Unmarshal(raw, &list) != nil && json.Unmarshal(raw, &object) == nil {
		return object.Values
	}
	return list
}

func eventLine(one report) string {
	type exception struct {
		Type, Module, Value string
		Mechanism           struct {
			Type    string
			Handled *bool
		}
		Stacktrace struct {
			Frames []struct {
				InApp bool `json:"in_app"`
			}
		}
	}
	text := fmt.Sprint(one.Type, " ", one.Level, " ", one.Transaction, " ", one.Fingerprint, " ", jobOf(one), " ", tagsOf(one))
	for _, e := range values[exception](one.Exception) {
		handled := e.Mechanism.Handled == nil || *e.Mechanism.Handled
		inApp := 0
		for _, frame := range e.Stacktrace.Frames {
			if frame.InApp {
				inApp++
			}
		}
		text += fmt.Sprintf(" %s|%s|%s %s handled=%v frames=%d", e.Module, e.Type, e.Value, e.Mechanism.Type, handled, inApp)
	}
	for _, crumb := range values[struct{ Message, Category string }](one.Breadcrumbs) {
		text += fmt.Sprint(" ", crumb)
	}
	return text
}

// jobOf is what an event says of its task.
func jobOf(one report) map[string]any {
	if one.Contexts.Job != nil {
		return one.Contexts.Job
	}
	return one.Extra["celery-job"]
}

func tagsOf(one report) map[string]string {
	tags := maps.Clone(one.Tags)
	delete(tags, "status") // Python has what a transaction's status was first
	if uuids.MatchString(tags["celery_task_id"]) {
		tags["celery_task_id"] = "UUID"
	}
	return tags
}
