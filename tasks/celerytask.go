package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
)

// celeryTask is gocelery's CeleryTask.
type celeryTask interface {
	ParseKwargs(kwargs map[string]interface{}) error
	RunTask() (interface{}, error)
}

// celeryTaskHandler runs a task written for gocelery. As in gocelery's worker the task
// gets the keyword arguments, with numbers as float64, and no positional ones unless
// Params names them. gocelery shares one task value between its goroutines; here each
// call has a copy of it, so that calls which run at once keep their arguments apart.
type celeryTaskHandler struct {
	name      string
	prototype celeryTask
	sig       *signature
}

func newCeleryTaskHandler(name string, task celeryTask, sig *signature) (Handler, error) {
	return &celeryTaskHandler{name: name, prototype: task, sig: sig}, nil
}

func (h *celeryTaskHandler) Handle(_ context.Context, req *Request) (any, error) {
	kwargs, err := h.kwargs(req)
	if err != nil {
		return nil, err
	}
	task := h.fresh()
	if err := task.ParseKwargs(kwargs); err != nil {
		if named := PythonError(nil); errors.As(err, &named) {
			return nil, err
		}
		return nil, typeError("%s() %v", shortName(h.name), err)
	}
	return task.RunTask()
}

func (h *celeryTaskHandler) fresh() celeryTask {
	v := reflect.ValueOf(h.prototype)
	if v.Kind() != reflect.Pointer {
		return h.prototype
	}
	fresh := reflect.New(v.Type().Elem())
	fresh.Elem().Set(v.Elem())
	return fresh.Interface().(celeryTask)
}

// kwargs makes the map that ParseKwargs gets. encoding/json is what gocelery decodes
// with, and its handlers count on the types this gives.
func (h *celeryTaskHandler) kwargs(req *Request) (map[string]any, error) {
	kwargs := map[string]any{}
	if h.sig == nil {
		if isNull(req.Kwargs) {
			return kwargs, nil
		}
		if err := json.Unmarshal(req.Kwargs, &kwargs); err != nil {
			return nil, badArgument(h.name, "kwargs", err)
		}
		return kwargs, nil
	}
	var b bound
	if err := h.sig.bind(&b, h.name, req.Args, req.Kwargs); err != nil {
		return nil, err
	}
	for i, raw := range b.slots {
		b.extra = append(b.extra, keyword{h.sig.names[i], raw})
	}
	for _, kw := range b.extra {
		var value any
		if err := json.Unmarshal(kw.raw, &value); err != nil {
			return nil, badArgument(h.name, kw.name, err)
		}
		kwargs[kw.name] = value
	}
	if h.sig.varArgs != "" {
		rest := make([]any, len(b.rest))
		for i, raw := range b.rest {
			if err := json.Unmarshal(raw, &rest[i]); err != nil {
				return nil, badArgument(h.name, h.sig.varArgs, err)
			}
		}
		kwargs[h.sig.varArgs] = rest
	}
	return kwargs, nil
}
