package python

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/apium/apium/protocol/serializer"
)

// Description is what an app is to those who only talk to its workers.
type Description struct {
	// Settings are the app's, as scripts/export_settings.py writes them, and Lost what cannot be
	// written down, with the reasons.
	Settings json.RawMessage   `json:"settings"`
	Lost     map[string]string `json:"lost"`
	// Software are the versions that celery report shows, by its words: celery, kombu, py and so on.
	Software map[string]string `json:"software"`
	Loader   string            `json:"loader"` // class of the app's loader
	// Commands are the app's own commands of remote control.
	Commands []Command `json:"commands"`
	// Signing is what the app signs messages with; nil: it does not.
	Signing *serializer.Keys `json:"signing"`
}

// Command is a command of remote control, as its decorator describes it.
type Command struct {
	Name      string      `json:"name"`
	Type      string      `json:"type"`      // inspect or control
	Signature string      `json:"signature"` // of its arguments, for people
	Help      string      `json:"help"`
	Args      [][2]string `json:"args"`     // name, and int, float, bool or str
	Variadic  string      `json:"variadic"` // keyword that the rest of the arguments come as; "": none
}

// Describe has Python import an app, and returns what it says of it. No process is left behind. Of
// opts, what concerns workers has no effect. If the app is to blame, the error is a *LoadError.
func Describe(ctx context.Context, opts Options) (*Description, error) {
	return describe[Description](ctx, opts, "describe")
}

// describe reads what a module of the driver says of an app.
func describe[T any](ctx context.Context, opts Options, module string) (*T, error) {
	line, err := opts.ask(ctx, module, map[string]any{"exporter": exporter})
	if err != nil {
		return nil, err
	}
	said := new(T)
	if err := json.Unmarshal(line, said); err != nil {
		return nil, fmt.Errorf("python: cannot read what is said of the app: %w", err)
	}
	return said, nil
}

// DescribeTasks is Describe for what the app's tasks look like: their parameters with types
// and defaults, their options, the documentation. It is JSON for the command stubs.
func DescribeTasks(ctx context.Context, opts Options) (json.RawMessage, error) {
	return opts.ask(ctx, "stubs", map[string]any{})
}

// ask returns what a module of the driver says of the app.
func (o *Options) ask(ctx context.Context, module string, options map[string]any) (json.RawMessage, error) {
	if err := o.resolve(); err != nil {
		return nil, err
	}
	options["app"], options["argv"] = o.App, o.Argv
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("python: %w", err)
	}
	defer func() { _ = ours.Close() }()
	process, end, err := o.run(module, options, theirs)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = process.Kill() // it has said all, or is not to go on
		<-end.done
	}()
	defer context.AfterFunc(ctx, func() {
		_ = process.Kill()
		_ = ours.Close() // what the app has forked may hold the other end
	})()
	return o.readAnswer(ctx, ours, func() int { return end.itself(process) })
}

func (o *Options) readAnswer(ctx context.Context, from *os.File, ended func() int) (json.RawMessage, error) {
	line, err := bufio.NewReader(from).ReadBytes('\n')
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, o.endedEarly(ended())
	}
	var said complaint
	if err := json.Unmarshal(line, &said); err != nil {
		return nil, fmt.Errorf("python: cannot read what is said of the app: %w", err)
	}
	if said.Error != "" {
		return nil, said.loadError(o)
	}
	return line, nil
}
