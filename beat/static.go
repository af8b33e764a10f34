package beat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/internal/nearest"
	"github.com/apium/apium/protocol/pyjson"
)

// Static is a source whose entries never change.
type Static struct {
	name    string
	entries []*Entry
}

var _ Source = (*Static)(nil)

// NewStatic returns a source of entries that are known already.
func NewStatic(name string, entries ...*Entry) *Static {
	return &Static{name: name, entries: entries}
}

// FromSettings returns the entries of beat_schedule, as scripts/export_settings.py writes them: by name, each with
// task, schedule (see schedule.Decode), args, kwargs, options and relative. zone is the setting
// timezone; nil: UTC. What is wrong with one is its Err.
func FromSettings(tasks map[string]json.RawMessage, zone *time.Location) *Static {
	s := NewStatic("beat_schedule")
	for name, raw := range tasks {
		e := &Entry{Name: name}
		e.Err = e.decode(raw, zone)
		s.entries = append(s.entries, e)
	}
	slices.SortFunc(s.entries, func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// members are those of an entry of beat_schedule: Celery refuses others, too.
var members = []string{"args", "kwargs", "options", "relative", "schedule", "task"}

// decode reads an entry of beat_schedule.
func (e *Entry) decode(raw json.RawMessage, zone *time.Location) error {
	if pyjson.Kind(raw) != '{' {
		return fmt.Errorf("it is a %s, where task and schedule belong", pyjson.PythonType(raw))
	}
	var when json.RawMessage
	relative := false
	for name, value := range pyjson.Members(raw) {
		kind := byte('{')
		switch name {
		case "task":
			e.Task, kind = pyjson.Text(value), '"'
		case "schedule":
			when, kind = value, 0
		case "args":
			e.Args, kind = value, '['
		case "kwargs":
			e.Kwargs = value
		case "options":
			e.Options = value
		case "relative":
			relative, kind = string(value) == "true", 0
		case "not_exported": // why scripts/export_settings.py could not write it
			return errors.New(pyjson.Text(value))
		default:
			return fmt.Errorf("there is no '%s' in an entry%s", name, meant(name))
		}
		if got := pyjson.Kind(value); kind != 0 && got != kind && got != 'n' {
			return fmt.Errorf("its %s is a %s", name, pyjson.PythonType(value))
		}
	}
	if e.Task == "" {
		return errors.New("it names no task")
	}
	if relative && pyjson.Kind(when) == '0' {
		when = fmt.Appendf(nil, `{"every": %s, "relative": true}`, when)
	}
	s, err := schedule.Decode(when, zone)
	if err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	e.Schedule = s
	return nil
}

func meant(name string) string {
	if meant := nearest.Name(name, members); meant != "" {
		return ". Did you mean '" + meant + "'?"
	}
	return ""
}

// Entries are all of them.
func (s *Static) Entries() []*Entry { return s.entries }

// Name implements [Source].
func (s *Static) Name() string { return s.name }

// Load implements [Source].
func (s *Static) Load(context.Context) ([]*Entry, error) { return s.entries, nil }

// Changed implements [Source]: they never are.
func (s *Static) Changed(context.Context) (bool, error) { return false, nil }

// Ran implements [Source]: nobody else wants to know.
func (s *Static) Ran(context.Context, []Run) error { return nil }
