package pickle

import "fmt"

// Error says why a pickle cannot be read, or a value cannot be written as one.
type Error struct {
	Reason string
}

func (e *Error) Error() string { return "pickle: " + e.Reason }

func failf(format string, args ...any) error {
	return &Error{Reason: fmt.Sprintf(format, args...)}
}

func notPlain(name string) error { return failf("%s is not plain data", name) }
