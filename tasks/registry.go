package tasks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Handler runs a task from its raw request. Most tasks are plain functions and need
// none of this.
type Handler interface {
	// Handle returns the task's result, or the error it fails with.
	Handle(ctx context.Context, req *Request) (any, error)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, req *Request) (any, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, req *Request) (any, error) { return f(ctx, req) }

// Entry is a registered task.
type Entry struct {
	Name    string
	Handler Handler
	Options Options
	// Executor is the name of the worker's executor that runs it; "": that of Go handlers.
	Executor string

	chain Handler // Handler inside the registry's middleware
}

// Registry holds the tasks a worker runs, by name. Its methods are safe for
// concurrent use.
type Registry struct {
	mu         sync.RWMutex
	entries    map[string]*Entry
	behind     map[string]*Entry // tasks of other executors that have a Go handler, too
	runs       map[string]int    // how many of them each executor runs
	commands   map[string]*Entry
	periodic   []*Periodic // by name
	middleware []Middleware
	hooks      []Hooks
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{entries: map[string]*Entry{}, behind: map[string]*Entry{}, runs: map[string]int{}, commands: map[string]*Entry{}}
}

// Register adds a task under the name Python calls it by, such as "shop.tasks.add".
// fn is one of
//
//   - a function func([ctx context.Context,] [arguments...]) ([result,] [error])
//   - such a function with one struct, or pointer to a struct, standing for all
//     arguments; see the package documentation
//   - a Handler, or a function of HandlerFunc's form
//   - a task written for gocelery: ParseKwargs and RunTask
//
// It panics when the name is taken, fn is none of these, or an option does not fit fn:
// these are mistakes in the program. Where names or functions are not known before it runs,
// TryRegister returns an error.
func (r *Registry) Register(name string, fn any, opts ...Option) {
	if err := r.add(name, fn, opts); err != nil {
		panic(fmt.Sprintf("tasks: %s: %v", called("Register", name), err))
	}
}

// TryRegister is Register that returns what is wrong instead of panicking. The registry is
// then as it was.
func (r *Registry) TryRegister(name string, fn any, opts ...Option) error {
	if err := r.add(name, fn, opts); err != nil {
		return fmt.Errorf("tasks: %q cannot be registered: %w", name, err)
	}
	return nil
}

func (r *Registry) add(name string, fn any, opts []Option) error {
	entry, err := newEntry(name, fn, opts)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if existing := r.entries[name]; existing != nil && existing.InGo() {
		return errors.New("a task of this name is registered already")
	}
	entry.wrap(r.middleware)
	r.enter(entry)
	return nil
}

// enter adds an entry, or replaces one. r.mu is held.
func (r *Registry) enter(entry *Entry) {
	if before := r.entries[entry.Name]; before != nil {
		r.runs[before.Executor]--
		if !before.InGo() && entry.InGo() {
			r.behind[entry.Name] = before
		}
	}
	r.runs[entry.Executor]++
	r.entries[entry.Name] = entry
}

// RunsOn tells whether there are tasks for an executor; "": that of Go handlers.
func (r *Registry) RunsOn(executor string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.runs[executor] > 0
}

// called is a call of a method with a task's name as its first argument.
func called(method, name string) string {
	if name == "" {
		return method
	}
	return fmt.Sprintf("%s(%q)", method, name)
}

func newEntry(name string, fn any, opts []Option) (*Entry, error) {
	entry := &Entry{Name: name}
	for _, opt := range opts {
		opt.setTask(&entry.Options)
	}
	if name == "" {
		return nil, errors.New("the task needs a name")
	}
	err := entry.Options.Validate()
	if err == nil {
		entry.Handler, err = newHandler(name, fn, &entry.Options)
	}
	if entry.Own() != nil {
		entry.Executor = name
	}
	return entry, err
}

// Own makes the executor of Executor's name, of a task that brings its own: see OwnExecutor. nil: it brings none.
func (e *Entry) Own() any { return e.Options.own }

// InGo tells whether the task has a Go handler.
func (e *Entry) InGo() bool {
	_, elsewhere := e.Handler.(remote)
	return !elsewhere
}

// Lookup finds a task by its name.
func (r *Registry) Lookup(name string) (*Entry, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	entry, ok := r.entries[name]
	return entry, ok
}

// Behind finds the task of another executor that a Go handler of the same name comes before (see RegisterFor).
func (r *Registry) Behind(name string) (*Entry, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	entry, ok := r.behind[name]
	return entry, ok
}

// Names returns the names of all tasks in alphabetical order.
func (r *Registry) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.entries))
}

// Clone returns a registry with the same tasks, periodic tasks, commands, middleware and hooks. What is added
// to either afterwards is not in the other.
func (r *Registry) Clone() *Registry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return &Registry{
		entries: maps.Clone(r.entries), behind: maps.Clone(r.behind), runs: maps.Clone(r.runs), commands: maps.Clone(r.commands),
		periodic: slices.Clone(r.periodic), middleware: slices.Clone(r.middleware), hooks: slices.Clone(r.hooks),
	}
}
