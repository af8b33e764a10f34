package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/fromsettings"
)

// Exit statuses, the same for all commands; docs/operating.md and the manual page explain them. They are
// Celery's, but that some of its commands end with 1 where the broker cannot be reached, and
// control with 0 where all that answer refuse.
const (
	// exitOK: done. A worker was asked to stop with SIGTERM or SIGQUIT, and has stopped.
	exitOK = 0
	// exitFailure: it went wrong. The task failed or has no result in time, all workers that
	// answered refuse, there is no such dead letter, a question was answered with no, a file
	// cannot be used. A worker was stopped with SIGINT, or in the middle of its work.
	exitFailure = 1
	// exitUsage: the command line is wrong, and nothing was done.
	exitUsage = 2
	// exitUnavailable: the broker or the result backend cannot be reached, or no worker
	// answers (EX_UNAVAILABLE).
	exitUnavailable = 69
	// exitRunning: the pid file belongs to a live process (EX_CANTCREAT).
	exitRunning = 73
)

// statusError ends the program without another word.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// unavailableError says that workers, or what they are asked through, are away.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// exitStatus prints an error, and is the status it ends the program with.
func exitStatus(err error, stderr io.Writer) int {
	var usage *UsageError
	var running *runningError
	var unavailable *unavailableError
	var connection *app.ConnectionError
	var status statusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, err)
		return exitUsage
	case errors.As(err, &running):
		fmt.Fprintln(stderr, err)
		return exitRunning
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "Error: interrupted")
		return exitFailure
	}
	fmt.Fprintf(stderr, "Error: %v\n", err)
	if errors.As(err, &unavailable) || errors.As(err, &connection) {
		return exitUnavailable
	}
	return exitFailure
}

// storeTimeout is how long the result backend is waited for.
const storeTimeout = 5 * time.Second

// openResults connects to the result backend. One that is away is no reason to wait for it.
func openResults(ctx context.Context, urls *fromsettings.Connections) (*fromsettings.Results, error) {
	store, err := urls.OpenResults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		err = &app.ConnectionError{Role: app.RoleResults, Server: urls.Backend.String(), Err: err}
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}
