package cli

import (
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/sdnotify"
)

// health is what a worker or a beat says of itself.
type health interface {
	Ready() error // nil: it is connected and at work
	Alive() error // not nil, or never answered: it is stuck
}

// supervised reports to systemd, if that has started the program: Type=notify and WatchdogSec of a unit. A nil one reports
// to nobody.
type supervised struct {
	to    *sdnotify.Notifier
	deaf  error                  // why nothing can be reported; nil: it can
	what  atomic.Pointer[health] // nil: it has not been made yet
	end   chan struct{}
	ended chan struct{}

	// Of the goroutine that reports.
	wasReady bool
	status   string // said last
	lastSign time.Time
}

// How often a service is asked whether it is ready, before and after it was.
const (
	askStarting = 50 * time.Millisecond
	askServing  = time.Second
)

// supervise begins to report.
func (p *program) supervise() *supervised {
	if p.signals == nil {
		return nil // a part of another program, which reports itself
	}
	to, err := sdnotify.Open()
	if to == nil && err == nil {
		return nil
	}
	s := &supervised{to: to, deaf: err, end: make(chan struct{}), ended: make(chan struct{})}
	go s.report()
	return s
}

// warn adds to warnings that nothing can be reported, where somebody waits for it.
func (s *supervised) warn(warnings *[]string) {
	if s != nil && s.deaf != nil {
		*warnings = append(*warnings, "Nobody is told how this service is: "+s.deaf.Error())
	}
}

// serves says whose state is reported from now on.
func (s *supervised) serves(what health) {
	if s != nil {
		s.what.Store(&what)
	}
}

func (s *supervised) stopping() {
	if s != nil {
		s.to.Stopping()
	}
}

// reloading says that something is loaded anew; the returned function says that this is over.
func (s *supervised) reloading() (done func()) {
	if s == nil {
		return func() {}
	}
	s.to.Reloading()
	return s.to.Ready
}

// close ends the reports.
func (s *supervised) close() {
	if s != nil {
		close(s.end)
		<-s.ended
		s.to.Close()
	}
}

// report says when the service is ready, and what its state is, whenever that changes; and, until there is a service and as
// long as that answers, that it lives.
func (s *supervised) report() {
	defer close(s.ended)
	for {
		what := s.what.Load()
		if s.lives(what); what != nil {
			s.tell(*what)
		}
		wait := askServing
		if !s.wasReady {
			wait = askStarting
		}
		if every := s.signEvery(); every > 0 {
			wait = min(wait, every)
		}
		select {
		case <-time.After(wait):
		case <-s.end:
			return
		}
	}
}

// signEvery is the time between two signs of life; 0: none are wanted.
func (s *supervised) signEvery() time.Duration { return s.to.Watchdog() / 3 }

func (s *supervised) lives(what *health) {
	every := s.signEvery()
	if every == 0 || time.Since(s.lastSign) < every || what != nil && (*what).Alive() != nil {
		return
	}
	s.to.Alive()
	s.lastSign = time.Now()
}

func (s *supervised) tell(what health) {
	err := what.Ready()
	status := "ready"
	if err != nil {
		status = err.Error()
	}
	if several, ok := what.(interface{ Status() string }); ok {
		status = several.Status()
	}
	if status != s.status {
		s.to.Status(status)
		s.status = status
	}
	if err == nil && !s.wasReady {
		s.to.Ready()
		s.wasReady = true
	}
}
