package tasks

import (
	"errors"
	"strconv"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// notExceptions are the classes of Python's that are no Exception, so that nobody who waits
// for a result expects them. Celery 5.7 turns the first two into WorkerLostError; it stores the
// others as they are, which ends the program that asks for the result.
var notExceptions = map[string]bool{
	"builtins.SystemExit": true, "builtins.KeyboardInterrupt": true,
	"builtins.BaseException": true, "builtins.GeneratorExit": true, "builtins.BaseExceptionGroup": true,
	"asyncio.CancelledError": true, "asyncio.exceptions.CancelledError": true,
}

func endsProcess(err error) bool { return processEnd(err) != nil }

// processEnd returns the WorkerLostError of an error that is no Exception to Python, with
// Celery's text (celery/worker/request.py: _worker_lost_info); nil of all others.
func processEnd(err error) *protocol.Exception {
	var module, class string
	var remote *protocol.Exception
	var named PythonError
	switch {
	case errors.As(err, &remote):
		module, class = remote.Module, remote.Type
	case errors.As(err, &named):
		module, class = named.PythonType()
	}
	if !notExceptions[module+"."+class] {
		return nil
	}
	status := class
	if class == "SystemExit" {
		status = "exitcode " + exitCode(err, remote)
	}
	return &protocol.Exception{
		Module: "billiard.exceptions", Type: "WorkerLostError",
		Message: encodeArgs([]any{"Worker exited prematurely: " + status + "."}),
	}
}

// exitCode is what Python's interpreter makes of SystemExit's argument: a whole number is the
// status, no argument is 0, and everything else 1.
func exitCode(err error, remote *protocol.Exception) string {
	if remote == nil {
		if err.Error() == "" {
			return "0"
		}
		return "1" // a text
	}
	var args []any
	switch _ = pyjson.Unmarshal(remote.Message, &args); {
	case len(args) == 0, len(args) == 1 && args[0] == nil:
		return "0"
	case len(args) == 1:
		if code, ok := args[0].(int64); ok {
			return strconv.FormatInt(code, 10)
		}
	}
	return "1"
}
