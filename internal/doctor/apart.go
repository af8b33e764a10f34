package doctor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// here names these settings beside those of workers.
const here = "these settings"

// groups are names by what they have in common.
type groups map[string][]string

// rows has a line for each group, the largest first.
func (g groups) rows() (rows []string) {
	for _, value := range slices.SortedFunc(maps.Keys(g), func(a, b string) int {
		return cmp.Or(len(g[b])-len(g[a]), strings.Compare(a, b))
	}) {
		rows = append(rows, value+": "+some(g[value]))
	}
	return rows
}

// option is a member of a worker's broker_transport_options; nil: there is none.
func (w *Worker) option(name string) json.RawMessage {
	for _, options := range [][]byte{pyjson.Member(pyjson.Member(w.stats, "broker"), "transport_options"), w.settings["broker_transport_options"]} {
		if pyjson.Kind(options) == '{' {
			if value := pyjson.Member(options, name); value != nil && pyjson.Kind(value) != 'n' {
				return value
			}
		}
	}
	return nil
}

// visibilityTimeout is that of these settings.
func (f *facts) visibilityTimeout() time.Duration {
	return cmp.Or(f.Settings.BrokerTransportOptions.VisibilityTimeout, visibilityDefault)
}

func visibilityTimeouts(f *facts) []Finding {
	if _, _, err := f.Places.RedisServers(); err != nil || f.redis == nil {
		return nil
	}
	seconds := func(s float64) string { return strconv.FormatFloat(s, 'f', -1, 64) + " s" }
	of := groups{}
	add := func(s float64, name string) { of[seconds(s)] = append(of[seconds(s)], name) }
	add(f.visibilityTimeout().Seconds(), here)
	shortest := f.visibilityTimeout().Seconds()
	for _, w := range f.fleet {
		timeout := visibilityDefault.Seconds()
		if given := w.option("visibility_timeout"); given != nil {
			if n, err := strconv.ParseFloat(strings.Trim(string(given), `"`), 64); err == nil {
				timeout = n
			}
		}
		add(timeout, w.Node)
		shortest = min(shortest, timeout)
	}
	if len(of) < 2 {
		return nil
	}
	return []Finding{{
		Severity: Error, Title: "Visibility timeouts are apart", Details: of.rows(),
		Meaning: fmt.Sprintf("Any worker gives back what others have held for longer than its own: a task that is acknowledged late, has an ETA, or just waits in a "+
			"Python worker for more than %s runs twice.", seconds(shortest)),
		Advice: "Set visibility_timeout in broker_transport_options to the same everywhere, longer than the longest task and countdown of Python's workers, and restart workers.",
	}}
}

// alike are settings in which all should agree.
var alike = []struct {
	name     string
	option   bool // of broker_transport_options
	severity Severity
	meaning  string
}{
	{"result_backend", false, Error, "Who waits for a result looks in one place, and it is stored in another: get() waits for ever, and chords do not end."},
	{"result_serializer", false, Warning, "Results may come in a form that who reads them does not accept."},
	{"priority_steps", true, Error, "Messages of some priorities lie in lists that not all workers look into."},
	{"sep", true, Error, "Messages with a priority lie in lists that not all workers look into."},
	{"unacked_key", true, Warning, "Messages of dead workers are given back by those only that look in the same place."},
	{"unacked_index_key", true, Warning, "Messages of dead workers are given back by those only that look in the same place."},
	{"timezone", false, Warning, "Dates without an offset, in ETAs and expires, are read differently."},
	{"enable_utc", false, Warning, "Dates without an offset, in ETAs and expires, are read differently."},
	{"task_default_queue", false, Warning, "Tasks that tasks send, retries for one, go to different queues."},
}

// settingsApart compares settings of workers with each other, and with these.
func settingsApart(f *facts) (found []Finding) {
	mine := f.Places.Shown(f.Settings.Table(false))
	for _, s := range alike {
		of := groups{}
		add := func(value json.RawMessage, name string) {
			shown := "default"
			if value != nil && pyjson.Kind(value) != 'n' {
				shown = strings.Trim(string(value), `"`)
			}
			if s.name == "result_backend" {
				shown = place(shown)
			}
			of[shown] = append(of[shown], name)
		}
		for _, w := range f.fleet {
			value := w.settings[s.name]
			if s.option {
				value = w.option(s.name)
			}
			add(value, w.Node)
		}
		add(f.given(mine, s.name, s.option), here)
		if len(of) > 1 && len(f.fleet) > 0 {
			found = append(found, Finding{
				Severity: s.severity, Title: s.name + " is not the same everywhere", Details: of.rows(), Meaning: s.meaning,
				Advice: "Give all the same settings, and restart the workers that have others.",
			})
		}
	}
	return found
}

// given is a setting of ours as JSON, nil: it has its default.
func (f *facts) given(table map[string]any, name string, option bool) json.RawMessage {
	if option {
		options, _ := table["broker_transport_options"].(map[string]any)
		table = options
	}
	value, ok := table[name]
	if !ok {
		return nil
	}
	raw, err := pyjson.Append(nil, value)
	if err != nil {
		return nil
	}
	return raw
}

// place is where a result backend's URL leads, without what is written in several ways: user, password, options.
func place(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	rest, _, _ = strings.Cut(rest, "?")
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = rest[at+1:]
	}
	rest = strings.TrimSuffix(rest, "/")
	if host, database, _ := strings.Cut(rest, "/"); scheme == "redis" || scheme == "rediss" {
		if !strings.Contains(host, ":") {
			host += ":6379"
		}
		rest = host + "/" + cmp.Or(database, "0")
	}
	return scheme + "://" + rest
}

// contentRefused finds workers that do not accept what is sent with these settings.
func contentRefused(f *facts) []Finding {
	sent := cmp.Or(f.Settings.TaskSerializer, "json")
	var refuse []string
	for _, w := range f.fleet {
		accepted := []string{"json"}
		if given := w.settings["accept_content"]; pyjson.Kind(given) == '[' {
			accepted = nil
			for _, name := range pyjson.Elements(given) {
				accepted = append(accepted, text(name))
			}
		}
		if !slices.ContainsFunc(accepted, func(name string) bool { return short(name) == short(sent) }) {
			refuse = append(refuse, w.Node+" accepts "+strings.Join(accepted, ", "))
		}
	}
	if refuse == nil {
		return nil
	}
	return []Finding{{
		Severity: Error, Title: fmt.Sprintf("Tasks are sent as %s, which not all workers accept", sent), Details: refuse,
		Meaning: "They refuse such messages: the tasks do not run, and nobody gets a result.",
		Advice:  "Add '" + sent + "' to accept_content of these workers, or send with another task_serializer.",
	}}
}

// short is a serializer's name, given that or its content type.
func short(name string) string {
	name = strings.TrimPrefix(name, "application/")
	name = strings.TrimPrefix(name, "x-")
	return strings.TrimPrefix(name, "python-serialize")
}

// versionsApart compares what workers run.
func versionsApart(f *facts) (found []Finding) {
	of := groups{}
	apium := groups{}
	add := func(software map[string]string, name string) {
		if v, _, _ := strings.Cut(software["celery"], " "); v != "" { // an app adds the version's nickname
			of["Celery "+v] = append(of["Celery "+v], name)
		}
		if v := software["apium"]; v != "" {
			apium["Apium "+v] = append(apium["Apium "+v], name)
		}
	}
	for _, w := range f.fleet {
		add(w.Software, w.Node)
	}
	add(f.Software, "this app")
	for _, g := range []groups{of, apium} {
		if len(g) > 1 {
			found = append(found, Finding{
				Severity: Warning, Title: "Workers run different versions", Details: g.rows(),
				Meaning: "While you move from one to the other, that is as it should be. Otherwise some were forgotten, and a task behaves as the worker that happens to get it.",
				Advice:  "Install the same version everywhere, and restart the workers that are behind.",
			})
		}
	}
	old := groups{}
	for v, names := range of {
		var major, minor int
		if _, err := fmt.Sscanf(v, "Celery %d.%d", &major, &minor); err == nil && (major < 4 || major == 4 && minor < 4) {
			old[v] = names
		}
	}
	if len(old) > 0 {
		found = append(found, Finding{
			Severity: Warning, Title: "There are workers of a Celery before 4.4", Details: old.rows(),
			Meaning: "Apium is tested beside Celery 4.4, 5.2 and 5.7.", Advice: "Install a newer Celery.",
		})
	}
	return found
}

// resultsForEver warns of results in Redis that never go.
func resultsForEver(f *facts) []Finding {
	redis := f.results != nil || f.redis != nil && f.redis.holds == holdsBoth
	if !redis || f.Settings.ResultExpires != 0 {
		return nil
	}
	return []Finding{{
		Severity: Warning, Title: "Results are kept for ever", Details: []string{"result_expires is 0 or None"},
		Meaning: "Each task leaves a key in Redis that never goes, until its memory is full.",
		Advice:  "Set result_expires (Celery's default is a day), or ignore_result for tasks whose results nobody reads.",
	}}
}
