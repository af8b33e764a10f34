package tasks

import (
	"fmt"
	"maps"
	"slices"
)

// RegisterCommand adds a command of remote control (Celery's control_command and
// inspect_command), for "celery inspect" and "celery control" of a Python app that knows
// it, for app.control.broadcast, and for this program's own command line. fn is a
// function as for Register; arguments come by name, so it needs Params if it has any:
//
//	reg.RegisterCommand("set_level", func(ctx context.Context, level string) error { … }, tasks.Params("level"))
//
// What it returns is the worker's reply. Commands run one at a time and must be quick. It
// panics as Register does. A command of Celery's of the same name is replaced.
func (r *Registry) RegisterCommand(name string, fn any, opts ...Option) {
	entry, err := newEntry(name, fn, opts)
	if err != nil {
		panic(fmt.Sprintf("tasks: %s: %v", called("RegisterCommand", name), err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.commands[name] != nil {
		panic(fmt.Sprintf("tasks: RegisterCommand(%q): a command of this name is registered already", name))
	}
	entry.wrap(nil)
	r.commands[name] = entry
}

// LookupCommand finds a command by its name.
func (r *Registry) LookupCommand(name string) (*Entry, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	entry, ok := r.commands[name]
	return entry, ok
}

// Commands returns the names of the commands, sorted.
func (r *Registry) Commands() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.commands))
}

// ParamNames returns the names that Params gives those parameters which can come by position.
func (e *Entry) ParamNames() []string {
	if e.Options.params == nil {
		return nil
	}
	sig, err := parseSignature(*e.Options.params)
	if err != nil {
		return nil // it was registered, so it has been read before
	}
	return sig.names[:sig.pos]
}
