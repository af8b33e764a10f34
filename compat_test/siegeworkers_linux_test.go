package compat_test

import (
	"fmt"
	"strconv"
	"syscall"
)

// celeryWithQuorum is celery with the queues as they are.
const celeryWithQuorum = `
import sys, tapp
from kombu import Exchange, Queue
names = sys.argv[sys.argv.index("-Q") + 1].split(",")
tapp.app.conf.task_queues = [Queue(n, Exchange(n), n, queue_arguments={"x-queue-type": "quorum"} if n == "q" else None) for n in names]
tapp.app.amqp.__dict__.pop("queues", None)
tapp.app.worker_main(sys.argv[1:])
`

// start starts a worker and does not wait until it is ready.
func (s *siege) start(i int) {
	s.t.Helper()
	queues := s.queues() + "," + probeQueue(i)
	options := []string{"-n", probeQueue(i) + "@host", "-Q", queues, "-c", strconv.Itoa(siegeSlots), "-l", "info", "--without-gossip", "--without-mingle"}
	ours := append(append(options[:len(options):len(options)], servesMetrics...), "broker_connection_max_retries=0",
		"apium_alive_for="+strconv.Itoa(s.silence), "apium_park_after=1")
	kind, a := s.kind, s.app
	if s.starts[i]++; s.named {
		a.variables = append(a.variables[:len(a.variables):len(a.variables)], "WHO="+s.who(i))
	}
	if kind == "mixed" {
		kind = []string{"go", "celery"}[i]
	}
	switch kind {
	case "go":
		transport := string(encoded(s.t, s.transport()))
		s.workers[i] = launchWorker(s.t, a, append(ours, "--broker-transport-options", transport, "result_backend_transport_options="+transport)...)
	case "apart":
		a.variables = append(a.variables[:len(a.variables):len(a.variables)], "CLOCK_AHEAD="+clocksAhead[i])
		transport := string(encoded(s.t, s.transport()))
		s.workers[i] = launchProgram(s.t, s.moved, a, append(ours, "--broker-transport-options", transport, "result_backend_transport_options="+transport)...)
	case "children":
		s.workers[i] = start(s.t, "apium worker", appDir, a.env(s.t), workerBinary, append([]string{"-A", tortured, "--python", a.python(), "worker"}, ours...)...)
	case "celery":
		args := append([]string{"-m", "celery", "-A", "tapp", "worker"}, options...)
		if s.rabbit != nil {
			args = append([]string{"-c", celeryWithQuorum, "worker"}, options...)
		}
		s.workers[i] = start(s.t, "celery worker", appDir, a.env(s.t), a.python(), args...)
	default:
		s.t.Fatalf("there are no workers %q; there are go, children, celery, mixed and apart", s.kind)
	}
}

// who is the worker that runs now in a place.
func (s *siege) who(i int) string { return fmt.Sprintf("%s.%d", probeQueue(i), s.starts[i]) }

// isCelerys tells whether a worker is Celery's own.
func (s *siege) isCelerys(i int) bool { return s.celerys() || s.kind == "mixed" && i > 0 }

// celerys tells whether all workers are Celery's own.
func (s *siege) celerys() bool { return s.kind == "celery" }

func probeQueue(i int) string { return "w" + strconv.Itoa(i) }

// lost is how often workers have said that they lost the broker.
func (s *siege) lost() (n int) {
	for _, w := range s.workers {
		n += w.log.count("Connection to broker lost")
	}
	return n
}

// revive starts workers again that have ended, as whoever supervises them does.
func (s *siege) revive() {
	s.t.Helper()
	for i, w := range s.workers {
		if !w.stopped() {
			continue
		}
		if !s.isCelerys(i) {
			s.t.Fatalf("a worker has ended with %d", w.exitCode(s.t))
		}
		s.start(i)
		s.workers[i].waitLog(s.t, " ready.")
	}
}

// endWorkers ends those of ours, of which nothing is left.
func (s *siege) endWorkers() {
	s.t.Helper()
	for i, w := range s.workers {
		if s.isCelerys(i) {
			continue
		}
		w.signal(s.t, syscall.SIGTERM)
		if code := w.exitCode(s.t); code != 0 {
			s.t.Errorf("%s: exit code %d", w.name, code)
		}
	}
	if s.kind == "children" {
		eventually(s.t, patience, "no process is left", func() bool { return len(belonging(s.t, "BROKER="+s.app.broker)) == 0 })
	}
}
