package compat_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// measure is a column of Celery's own worker, which ours are compared with. That worker hangs at times, by
// its own fault: with 5.2 on a busy machine one run in four has an event loop that does not look at one of its connections to
// Redis any more. Then the column runs anew, from the beginning.
type measure[C any] struct {
	start func() C      // starts the worker, and gives it what it is measured with
	run   func(C) error // until there is something to compare; a *hangError: the worker hangs
	begun C
}

// hangError says that a worker of Celery's does not do what it always does.
type hangError struct {
	worker *process
	cause  error
}

func (e *hangError) Error() string { return e.worker.name + " hangs: " + e.cause.Error() }

const (
	// attempts is how often a column of Celery's is run, at most.
	attempts = 5
	// stall is how long such a worker may show nothing before it is taken to hang. No task of the tests takes so long.
	stall = 25 * time.Second
)

// startMeasure starts the worker, so that it runs beside others.
func startMeasure[C any](start func() C, run func(C) error) *measure[C] {
	return &measure[C]{start: start, run: run, begun: start()}
}

// ran returns when the column has run.
func (m *measure[C]) ran(t *testing.T) C {
	t.Helper()
	for attempt := 1; ; attempt++ {
		err := m.run(m.begun)
		if err == nil {
			return m.begun
		}
		var hangs *hangError
		if !errors.As(err, &hangs) {
			t.Fatal(err)
		}
		if attempt == attempts {
			t.Fatalf("%d times: %v", attempts, err)
		}
		t.Logf("run anew (%d of %d): %v\n%s", attempt, attempts, err, tail(hangs.worker.log.String(), 2000))
		hangs.worker.kill()
		m.begun = m.start()
	}
}

// celeryFinished waits until Celery's own worker has done all that it was given: see finished.
func celeryFinished(t *testing.T, server *redisServer, waiting int, worker *process) error {
	t.Helper()
	return finishing{server: server, waiting: waiting, workers: []*process{worker}, patience: patience, stall: stall}.ofCelery(t)
}

// ofCelery is wait for one worker of Celery's, which is to blame for what is not finished.
func (f finishing) ofCelery(t *testing.T) error {
	t.Helper()
	if err := f.wait(t); err != nil {
		return &hangError{f.workers[0], err}
	}
	return nil
}

// celeryDone waits for that, and then ends the worker.
func celeryDone(t *testing.T, server *redisServer, worker *process) error {
	t.Helper()
	if err := celeryFinished(t, server, 0, worker); err != nil {
		return err
	}
	return celeryEnds(t, worker)
}

// celeryEnds ends Celery's own worker, which may hang then, too.
func celeryEnds(t *testing.T, worker *process) error {
	t.Helper()
	worker.signal(t, syscall.SIGTERM)
	select {
	case <-worker.done:
		if code := worker.cmd.ProcessState.ExitCode(); code != 0 {
			return &hangError{worker, fmt.Errorf("it ends with exit code %d", code)}
		}
		return nil
	case <-time.After(patience):
		return &hangError{worker, errors.New("it does not end")}
	}
}

// A worker of Celery's that hangs is killed, and the column begins anew. One of ours that does stays a failure.
func TestCeleryHangsAndRunsAnew(t *testing.T) {
	t.Parallel()
	type run struct {
		*redisServer
		worker *process
	}
	finish := func(r *run) finishing {
		return finishing{server: r.redisServer, workers: []*process{r.worker}, patience: patience, stall: time.Second}
	}
	var started []*run
	column := startMeasure(func() *run {
		r := &run{redisServer: startRedis(t)}
		if len(started) == 0 {
			r.worker = start(t, "stuck worker", ".", nil, "sh", "-c", "echo 'w1@host ready.'; exec sleep 600")
			r.worker.waitLog(t, " ready.")
		} else {
			r.worker = r.app().startWorker(t, "-n", "w1@host")
		}
		started = append(started, r)
		return r
	}, func(r *run) error { return finish(r).ofCelery(t) })
	if got := column.ran(t); len(started) != 2 || got != started[1] {
		t.Errorf("%d columns were started, and the first is what is compared: %t", len(started), got == started[0])
	}
	if !started[0].worker.stopped() {
		t.Error("the worker that hangs was not killed")
	}

	ours := &run{redisServer: startRedis(t)}
	ours.worker = startWorker(t, ours.app(), append(servesMetrics, "-n", "w1@host")...)
	ours.app().run(t, nil, "import tapp; tapp.nap.delay(600)")
	var hangs *hangError
	if err := finish(ours).wait(t); err == nil || errors.As(err, &hangs) {
		t.Errorf("ours works on: %v", err)
	}
}
