package python

import (
	"context"
	"encoding/json"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/tasks"
)

// Periodic is what an app is to who sends its periodic tasks.
type Periodic struct {
	// Settings are the app's, as scripts/export_settings.py writes them, and Lost what cannot be
	// written down, with the reasons.
	Settings json.RawMessage   `json:"settings"`
	Lost     map[string]string `json:"lost"`
	// Tasks are the options with which each of the app's tasks is published, by name.
	Tasks map[string]json.RawMessage `json:"tasks"`
	// Refused is what of the app hears of Celery's beat, and cannot here.
	Refused []Refusal `json:"refused"`
	// Signing is what the app signs messages with; nil: it does not.
	Signing *serializer.Keys `json:"signing"`
}

// DescribePeriodic is Describe for who sends what the app's tasks are sent with: it imports all of them, as
// Celery's beat does.
func DescribePeriodic(ctx context.Context, opts Options) (*Periodic, error) {
	return describe[Periodic](ctx, opts, "periodic")
}

// Register registers the app's tasks for who sends them. A task that is registered already stays.
func (p *Periodic) Register(reg *tasks.Registry) {
	for name, options := range p.Tasks {
		if _, known := reg.Lookup(name); !known {
			reg.RegisterFor(Executor, name, publishing(options)...)
		}
	}
}

// publishing are the options that a task is published with, as the driver says them.
func publishing(options json.RawMessage) []tasks.Option {
	var all []tasks.Option
	for name, value := range pyjson.Members(options) {
		all = append(all, tasks.Publishing(canvas.RawOpt(name, value)))
	}
	return all
}
