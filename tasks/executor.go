package tasks

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// RegisterFor adds a task that an executor of the worker runs which is not that of Go handlers:
// worker.Config has executors by name. Options hold for it as for all tasks; its arguments are
// read by whoever runs it. A Go handler of the same name comes first, whichever is registered
// first: RegisterFor then reports false, and only Behind finds what it has registered. It panics when the name is empty or an option cannot be.
func (r *Registry) RegisterFor(executor, name string, opts ...Option) bool {
	entry, err := newEntryFor(executor, name, opts)
	if err != nil {
		panic(fmt.Sprintf("tasks: %s: %v", called("RegisterFor", name), err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addForLocked(entry)
}

// ReplaceFor has the tasks that all names, with their options, take the place of all that was
// registered for an executor, which is not "": what is not among them is not registered any
// more. In between no task is missing. Go handlers stay, and come first. If a name or an option
// cannot be, the registry is as it was.
//
// A worker that runs finds out when it is restarted: see worker.ExecutorConfig.Tasks.
func (r *Registry) ReplaceFor(executor string, all map[string][]Option) error {
	if executor == "" {
		return errors.New("tasks: Go handlers cannot be replaced")
	}
	entries := make([]*Entry, 0, len(all))
	var errs []error
	for name, opts := range all {
		entry, err := newEntryFor(executor, name, opts)
		if err != nil {
			errs = append(errs, fmt.Errorf("tasks: %q cannot be registered: %w", name, err))
		}
		entries = append(entries, entry)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, entries := range []map[string]*Entry{r.entries, r.behind} {
		maps.DeleteFunc(entries, func(_ string, e *Entry) bool { return e.Executor == executor })
	}
	delete(r.runs, executor)
	for _, entry := range entries {
		r.addForLocked(entry)
	}
	return nil
}

func newEntryFor(executor, name string, opts []Option) (*Entry, error) {
	entry, err := newEntry(name, remote{}, opts)
	if err != nil {
		return nil, err
	}
	entry.Executor = executor
	entry.wrap(nil)
	return entry, nil
}

func (r *Registry) addForLocked(entry *Entry) bool {
	if existing := r.entries[entry.Name]; existing != nil && existing.InGo() {
		r.behind[entry.Name] = entry
		return false
	}
	r.enter(entry)
	return true
}

// OwnExecutor has the Go handler of a task run by an executor of its own, which has the task's name. Each worker that is
// made for the registry calls maker for it: a func() worker.ExecutorConfig. It is meant for packages such as tasks/batches.
func OwnExecutor(maker any) Option { return taskOption(func(o *Options) { o.own = maker }) }

// remote is the handler of a task that another executor runs.
type remote struct{}

// Handle implements Handler.
func (remote) Handle(context.Context, *Request) (any, error) {
	return nil, errors.New("tasks: this task has no Go handler")
}
