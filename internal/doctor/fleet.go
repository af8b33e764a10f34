package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol/pyjson"
)

// Worker is what a worker, Python's or Apium's, says of itself.
type Worker struct {
	Node     string            `json:"node"`
	Software map[string]string `json:"software"` // versions by name: apium, celery, kombu, py; those of its Python app, too
	Queues   []string          `json:"queues"`   // that it consumes
	Tasks    []string          `json:"tasks"`    // that it can run

	settings map[string]json.RawMessage // those that differ from the defaults
	stats    json.RawMessage
	limited  []string // tasks with a rate limit
	holds    []string // ids of tasks whose messages it holds; not known of Apium's
}

// IsApium tells Apium's workers from Python's.
func (w *Worker) IsApium() bool { return w.Software["apium"] != "" }

// String is the node with what runs there.
func (w *Worker) String() string {
	name := "celery"
	if w.IsApium() {
		name = "apium"
	}
	return fmt.Sprintf("%s (%s %s)", w.Node, strings.Title(name), w.Software[name]) //nolint:staticcheck // ASCII
}

// questioner asks workers.
type questioner struct {
	f      *facts
	client *control.Client
	nodes  []string
}

// ask asks all workers that are there, and calls hear with each answer that is none of an error.
func (q *questioner) ask(ctx context.Context, command string, hear func(w *Worker, answer json.RawMessage)) {
	if len(q.nodes) == 0 {
		return
	}
	replies, err := q.client.Ask(ctx, control.Question{
		Command: command, Destination: q.nodes, Timeout: q.f.patience(),
	}, nil)
	heard := map[string]bool{}
	for _, r := range replies {
		if w := q.f.worker(r.Node); w != nil && !isRefusal(r.Value) {
			heard[r.Node] = true
			hear(w, r.Value)
		}
	}
	if err != nil {
		q.f.missed("the workers' answers to "+command, err)
		return
	}
	var missing []string
	for _, node := range q.nodes {
		if !heard[node] {
			missing = append(missing, node)
		}
	}
	if missing != nil {
		q.f.missed(command+" of "+some(missing), fmt.Errorf("no answer within %v", q.f.patience()))
	}
}

func isRefusal(raw []byte) bool {
	return pyjson.Kind(raw) == '{' && pyjson.Member(raw, "error") != nil && pyjson.Member(raw, "ok") == nil
}

// worker is the one of that name; nil: there is none.
func (f *facts) worker(node string) *Worker {
	for _, w := range f.fleet {
		if w.Node == node {
			return w
		}
	}
	return nil
}

// askFleet finds out who is there, and asks them for what they are. m may be nil.
func (f *facts) askFleet(ctx context.Context, publisher fromsettings.Publisher, m broker.Management) {
	q := &questioner{f: f, client: &control.Client{
		Broadcaster: publisher, Asker: publisher, Exchange: f.Settings.ControlExchange, Decoder: f.Decoder, Signed: f.Signed,
	}}
	listening := f.listen(ctx, publisher)
	defer func() { f.clocks = listening.end(q.nodes) }()
	replies, err := q.client.Ask(ctx, control.Question{Command: "ping", Timeout: f.Timeout}, nil)
	if err != nil {
		f.missed("workers", err)
		return
	}
	f.asked = true
	for _, r := range replies {
		if f.worker(r.Node) != nil {
			f.doubles = append(f.doubles, r.Node)
			continue
		}
		f.fleet = append(f.fleet, &Worker{Node: r.Node, Software: map[string]string{}})
	}
	slices.SortFunc(f.fleet, func(a, b *Worker) int { return strings.Compare(a.Node, b.Node) })
	slices.Sort(f.doubles)
	f.doubles = slices.Compact(f.doubles)
	for _, w := range f.fleet {
		q.nodes = append(q.nodes, w.Node)
	}
	q.ask(ctx, "report", func(w *Worker, answer json.RawMessage) { w.Software = software(text(pyjson.Member(answer, "ok"))) })
	q.ask(ctx, "conf", func(w *Worker, answer json.RawMessage) {
		w.settings = maps.Collect(members(answer))
	})
	q.ask(ctx, "stats", func(w *Worker, answer json.RawMessage) { w.stats = answer })
	q.ask(ctx, "active_queues", func(w *Worker, answer json.RawMessage) {
		for _, queue := range pyjson.Elements(answer) {
			w.Queues = append(w.Queues, text(pyjson.Member(queue, "name")))
		}
	})
	q.ask(ctx, "registered", func(w *Worker, answer json.RawMessage) {
		for _, task := range pyjson.Elements(answer) {
			name, attributes, _ := strings.Cut(text(task), " [")
			w.Tasks = append(w.Tasks, name)
			if strings.Contains(attributes, "rate_limit=") {
				w.limited = append(w.limited, name)
			}
		}
	})
	f.askHolders(ctx, q, m)
}

// members are those of a JSON object.
func members(raw []byte) func(yield func(string, json.RawMessage) bool) {
	return func(yield func(string, json.RawMessage) bool) {
		if pyjson.Kind(raw) != '{' {
			return
		}
		for name, value := range pyjson.Members(raw) {
			if !yield(name, value) {
				return
			}
		}
	}
}

// text is a JSON string's text, "" of anything else.
func text(raw []byte) string {
	if pyjson.Kind(raw) != '"' {
		return ""
	}
	s, _ := pyjson.Unquote(raw) // "" if it cannot be read
	return s
}

// version is a program with its version in the first lines of a report.
var version = regexp.MustCompile(`([a-z_]+):(\S+)`)

// software reads what a report, Celery's or ours, says of versions.
func software(report string) map[string]string {
	_, rest, _ := strings.Cut(report, "software -> ")
	lines, _, _ := strings.Cut(rest, "platform -> ")
	versions := map[string]string{}
	for _, m := range version.FindAllStringSubmatch(lines, -1) {
		versions[m[1]] = m[2]
	}
	return versions
}

// some are the first of many names, as part of a sentence.
func some(names []string) string {
	const most = 6
	if more := len(names) - most; more > 1 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}
