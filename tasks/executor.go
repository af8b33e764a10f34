package tasks

import (
	"context"
	"errors"
	"fmt"
)

// RegisterFor adds a task that an executor of the worker runs which is not that of Go handlers:
// worker.Config has executors by name. Options hold for it as for all tasks; its arguments are
// read by whoever runs it. A Go handler of the same name comes first, whichever is registered
// first: RegisterFor then reports false and changes nothing, and Register replaces what it has
// registered. It panics when the name is empty or an option cannot be.
func (r *Registry) RegisterFor(executor, name string, opts ...Option) bool {
	entry, err := newEntry(name, elsewhere, opts)
	if err != nil {
		panic(fmt.Sprintf("tasks: %s: %v", called("RegisterFor", name), err))
	}
	entry.Executor = executor
	r.mu.Lock()
	defer r.mu.Unlock()
	if existing := r.entries[name]; existing != nil && existing.Executor == "" {
		return false
	}
	entry.wrap(nil)
	r.entries[name] = entry
	return true
}

// elsewhere is the handler of a task that another executor runs.
func elsewhere(context.Context, *Request) (any, error) {
	return nil, errors.New("tasks: this task has no Go handler")
}
