package tasks_test

import (
	"fmt"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// TestNoExceptionToPython: what is no Exception in Python would end the program that asks for
// the result. The texts are those that Celery 5.7 stores for SystemExit and KeyboardInterrupt.
func TestNoExceptionToPython(t *testing.T) {
	t.Parallel()
	stored := func(class, module, args string) error {
		return &protocol.Exception{Type: class, Module: module, Message: []byte(args)}
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{tasks.Raise("SystemExit", "x"), "exitcode 1"},
		{tasks.Raise("SystemExit", ""), "exitcode 0"},
		{stored("SystemExit", "builtins", "[]"), "exitcode 0"},
		{stored("SystemExit", "builtins", "[null]"), "exitcode 0"},
		{stored("SystemExit", "builtins", "[3]"), "exitcode 3"},
		{stored("SystemExit", "builtins", "[3, 4]"), "exitcode 1"},
		{stored("SystemExit", "builtins", `"garbage`), "exitcode 0"},
		{fmt.Errorf("wrapped: %w", tasks.Raise("SystemExit", "x")), "exitcode 1"},
		{tasks.Raise("KeyboardInterrupt", "x"), "KeyboardInterrupt"},
		{tasks.Raise("GeneratorExit", "x"), "GeneratorExit"},
		{tasks.Raise("BaseException", "x"), "BaseException"},
		{tasks.Raise("BaseExceptionGroup", "x"), "BaseExceptionGroup"},
		{tasks.Raise("asyncio.CancelledError", ""), "CancelledError"},
		{stored("CancelledError", "asyncio.exceptions", "[]"), "CancelledError"},
	} {
		got := tasks.ExceptionOf(test.err)
		want := "billiard.exceptions.WorkerLostError: Worker exited prematurely: " + test.want + "."
		if got.Error() != want {
			t.Errorf("%v: %s, want %s", test.err, got, want)
		}
	}
	for _, err := range []error{
		tasks.Raise("shop.SystemExit", "x"), tasks.Raise("StopIteration", ""), tasks.Raise("concurrent.futures.CancelledError", ""),
	} {
		if got := tasks.ExceptionOf(err); got.Type == "WorkerLostError" {
			t.Errorf("%#v became %s", err, got)
		}
	}
}
