package cli

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// stopSignals are the signals that end a worker.
var stopSignals = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}

// stopper turns signals into the three ways a worker ends:
//
//	warm  the first SIGTERM or SIGINT: running tasks finish
//	cold  the second, or SIGQUIT: they are cancelled
//	hard  one more after that: the process ends at once
type stopper struct {
	out       io.Writer
	remapTerm bool // REMAP_SIGTERM=SIGQUIT: SIGTERM is cold
	warm      func()
	cold      func()

	level  int // signals seen so far: 1 warm, 2 cold
	status int // exit status

	last   os.Signal
	lastAt time.Time
}

// echo is how soon a signal is taken for the one before: timeout(1) and some
// supervisors send it to the process and once more to its group.
const echo = 100 * time.Millisecond

// watch handles signals until done is closed, or hard is reached: then it returns true.
func (s *stopper) watch(signals <-chan os.Signal, done <-chan struct{}) (hard bool) {
	for {
		select {
		case sig := <-signals:
			if s.handle(sig, time.Now()) {
				return true
			}
		case <-done:
			return false
		}
	}
}

func (s *stopper) handle(sig os.Signal, at time.Time) (hard bool) {
	repeated := sig == s.last && at.Sub(s.lastAt) < echo
	s.last, s.lastAt = sig, at
	if repeated {
		return false
	}
	quit := sig == syscall.SIGQUIT || sig == syscall.SIGTERM && s.remapTerm
	switch {
	case s.level == 2:
		fmt.Fprint(s.out, "\nworker: Hard shutdown (MainProcess)\n")
		s.status = exitFailure
		return true
	case s.level == 1 || quit:
		s.level = 2
		fmt.Fprint(s.out, "\nworker: Hitting Ctrl+C again will terminate all running tasks!\n")
		fmt.Fprint(s.out, "\nworker: Cold shutdown (MainProcess)\n")
		s.warm()
		s.cold()
	default:
		s.level = 1
		if sig == syscall.SIGINT {
			s.status = exitFailure // as Celery's
			fmt.Fprint(s.out, "\nworker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!\n")
		}
		fmt.Fprint(s.out, "\nworker: Warm shutdown (MainProcess)\n")
		s.warm()
	}
	return false
}
