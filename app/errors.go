package app

import (
	"errors"
	"fmt"
)

// ConfigError says that settings or options make no worker or client. Nothing was connected,
// and it would be the same at every try.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong: several problems at once may be joined.
func (e *ConfigError) Unwrap() error { return e.Err }

// ConnectionError says that a server cannot be reached, or lets nobody in.
type ConnectionError struct {
	Role   string // RoleBroker or RoleResults
	Server string // its URL, without the password
	Err    error
}

func (e *ConnectionError) Error() string {
	if e.Role == RoleBroker {
		return fmt.Sprintf("cannot connect to %s: %v", e.Server, e.Err)
	}
	return fmt.Sprintf("cannot connect to the %s %s: %v", e.Role, e.Server, e.Err)
}

// Unwrap returns what the connection failed with.
func (e *ConnectionError) Unwrap() error { return e.Err }

// Values of ConnectionError.Role.
const (
	RoleBroker  = "broker"
	RoleResults = "result backend"
)

// ErrHardShutdown is what Run returns when something, such as a hook that does not return, has
// held up a cold shutdown for too long. Some of the worker's goroutines are left behind.
var ErrHardShutdown = errors.New("app: the worker did not end in time after Abort")

var (
	errRanBefore  = errors.New("app: Run was called before")
	errNotRunning = errors.New("app: the worker does not run yet")
)
