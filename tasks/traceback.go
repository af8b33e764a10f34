package tasks

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/apium/apium/protocol"
)

const (
	maxFrames = 64
	ownPrefix = "github.com/apium/apium/tasks."
	entryCall = ownPrefix + "(*Entry).Call"
	reporting = "github.com/apium/apium/tasks/sentrytasks."
)

// callers returns the stack above its caller, without skip further callers of that.
func callers(skip int) []uintptr {
	pcs := make([]uintptr, maxFrames)
	return pcs[:runtime.Callers(skip+2, pcs)]
}

// traceback writes a Go stack in the layout of a Python traceback, which is what
// clients expect of a record's traceback. The last line is Python's for the exception,
// unless another text is given.
func traceback(stack []uintptr, exc *protocol.Exception, text string) string {
	var b strings.Builder
	b.WriteString("Traceback (most recent call last):\n")
	for _, f := range slices.Backward(handlerFrames(stack)) {
		fmt.Fprintf(&b, "  File %q, line %d, in %s\n", f.File, f.Line, f.Function)
	}
	last := exc.Error()
	if text != "" {
		last, _, _ = strings.Cut(last, ":")
		last += ": " + text
	}
	return b.String() + last + "\n"
}

// handlerFrames keeps the frames between a task's entry and the place of the error,
// innermost first. A stack that did not come from Entry.Call, such as that of an error
// made when the program started, says nothing about the task: it has none.
func handlerFrames(stack []uintptr) []runtime.Frame {
	if len(stack) == 0 {
		return nil
	}
	var all []runtime.Frame
	inTask := len(stack) == maxFrames // cut off: the entry lies further up
	for frames := runtime.CallersFrames(stack); ; {
		frame, more := frames.Next()
		if frame.Function == entryCall {
			inTask = true
			break
		}
		all = append(all, frame)
		if frame.Function == "runtime.gopanic" { // below are the recovering functions
			all = all[:0]
		}
		if !more {
			break
		}
	}
	if !inTask {
		return nil
	}
	for len(all) > 0 && strings.HasPrefix(all[0].Function, "runtime.") {
		all = all[1:]
	}
	for len(all) > 0 && isMachinery(all[len(all)-1].Function) {
		all = all[:len(all)-1]
	}
	return all
}

// isMachinery reports whether a function is between Entry.Call and the handler.
func isMachinery(function string) bool {
	return strings.HasPrefix(function, ownPrefix) || strings.HasPrefix(function, reporting) || strings.HasPrefix(function, "reflect.")
}
