// Package tasks is what the author of tasks imports: a registry of Go functions under
// the names by which Python calls them.
//
//	reg := tasks.NewRegistry()
//	reg.Register("shop.tasks.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
//	reg.Register("shop.tasks.charge", Charge)
//
// # Arguments
//
// A function takes its arguments in Go types, decoded as package pyjson decodes them:
// integers, floats, strings, bool, []byte, slices, maps with keys of strings or integers,
// structs, pointers (nil for None), time.Time, big.Int, json.RawMessage, types with
// UnmarshalJSON, and any. With
// Params it is called as the Python function with those parameters would be. Without,
// it has no names for its parameters and takes positional arguments only.
//
// A single struct, or pointer to a struct, stands for all arguments when Params is not
// given. Its exported fields are the parameters, in their order:
//
//	type Order struct {
//		ID     int64             `celery:"order_id"`    // the parameter's name
//		Lines  []string                                 // without a tag: lines, the field's in lower case
//		Notify bool              `celery:"notify,True"` // name and default, a Python literal
//		Note   *string           `celery:",None"`       // a default alone
//		Tags   []string          `celery:"*tags"`       // all other positional arguments
//		Extra  map[string]string `celery:"**extra"`     // all other keyword arguments
//	}
//
// Names in json tags count, too.
//
// Python's date, time, Decimal and UUID have types in package pyjson; a UUID may also be a
// string. What the Python side
// has registered with kombu's register_type is taught to Go with pyjson.RegisterType.
//
// Arguments that do not fit fail the task with the TypeError that Python raises, and
// values that do not fit their Go type with one in the same words: "add() argument 'x'
// must be int, not str". A number beyond the range of its Go type is an OverflowError,
// and what a type's own UnmarshalJSON refuses a ValueError.
//
// # Results and errors
//
// A task returns a result, an error, both or neither. ExceptionOf tells how an error
// looks to Python; Raise makes one of any class. A panic is a RuntimeError, unless the
// handler panics with an error that names its class.
//
// # In a task
//
// Current is Python's self.request, Logger logs as get_task_logger does, Send, Replace,
// AddToChord and UpdateState are what the methods of a task are in Python, and Retry, Ignore
// and Reject are returned where Python raises.
//
// # Calling and testing
//
// Define defines a task once, with the types of its arguments and its result, to register and to
// call it. Package taskstest runs a registered task in memory, for tests.
//
// # Periodic tasks
//
// Registry.Periodic adds calls that apium beat, or a worker with -B, sends whenever they are due.
//
// # gocelery
//
// Tasks written for gocelery's CeleryTask interface run unchanged. They get the keyword
// arguments; give Params to let producers pass them by position as well.
package tasks
