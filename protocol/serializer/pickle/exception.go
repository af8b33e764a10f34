package pickle

import (
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/serializer/plain"
)

// exception is an object in a result record, which is one of an exception.
type exception struct {
	class *class
	args  *plain.List
}

// wrapper is what Celery stores for an exception that cannot be pickled
// (celery.utils.serialization): (module, class, arguments, repr).
const wrapper = "celery.utils.serialization.UnpickleableExceptionWrapper"

// Plain returns it as Celery's other serializers have exceptions.
func (e *exception) Plain() (any, error) {
	module, name, args := e.class.module, e.class.name, e.args
	if e.class.String() == wrapper && len(args.Items) >= 3 {
		module, name = text(args.Items[0]), text(args.Items[1])
		inner, ok := args.Items[2].(*plain.List)
		if !ok || inner == args {
			return nil, failf("an exception without arguments")
		}
		args = inner
	}
	message := &plain.List{}
	for _, arg := range args.Items {
		message.Items = append(message.Items, inert(arg))
	}
	dict := &plain.Dict{}
	dict.Set("exc_type", name)
	dict.Set("exc_message", message)
	dict.Set("exc_module", module)
	return dict, nil
}

// inert returns an argument, or text for one that has no plain form, as Celery does.
func inert(arg any) any {
	switch v := arg.(type) {
	case *exception:
		return v.repr()
	case *class:
		return v.String()
	}
	return arg
}

// repr is Python's, but for arguments that are more than text and numbers.
func (e *exception) repr() string {
	args := &plain.List{}
	for _, arg := range e.args.Items {
		switch arg.(type) {
		case *exception, *class, *plain.List, *plain.Dict:
			arg = "..."
		}
		args.Items = append(args.Items, arg)
	}
	message, err := plain.JSON(args, 0)
	if err != nil {
		message = nil
	}
	exc := protocol.Exception{Type: e.class.name, Message: message}
	return exc.Repr()
}
