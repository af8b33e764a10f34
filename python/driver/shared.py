"""The child of a pool that runs its tasks in one process: solo, threads, gevent, eventlet.

It is what Celery's MainProcess is in such a pool, and Celery's own pool runs the tasks in it.
"""
import os
import random
import signal
import sys
import threading

from apium_driver import child, claims, outcome, records
from apium_driver.wire import Frames


class Current(threading.local, child.Current):
    """The same of each thread, or greenlet."""


def run(app, worker, options, fd, page, parent):
    """Runs jobs until there are no more. Returns the exit code."""
    child.die_with(parent)
    become()
    current = Current()
    records.hand_over(app, current, options["direct"])  # before Celery builds its tracers
    claims.share(app, current, page, options["claim"])
    build_tracers(app, worker)
    Loop(app, worker, options, Frames(fd), current, page).run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    return 0


def become():
    """Makes a process of its own of the fork. What it starts must not inherit that signals are ignored."""
    from billiard import util
    random.seed()
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    util._finalizer_registry.clear()
    util._run_after_forkers()


def is_pool(worker, name):
    return worker.pool_cls.__module__ == "celery.concurrency." + name


def build_tracers(app, worker):
    """Does what Celery's consumer does when it starts."""
    from celery.app.trace import build_tracer
    for name, task in app.tasks.items():
        task.__trace__ = build_tracer(name, task, app.loader, worker.hostname, app=app)


class Loop(child.Loop):
    """Gives jobs to the pool as they come."""

    def __init__(self, app, worker, *args):
        child.Loop.__init__(self, app, worker, *args)
        kind = type(worker.pool)
        # One more than there are slots: for what is called in the midst of something else.
        self.pool = worker.pool = kind(worker.pool.limit + 1, app=app, initargs=(app, worker.hostname))
        self.lock = threading.Lock()
        self.getcurrent, self.end = None, None
        if kind.is_green:
            from greenlet import getcurrent
            self.getcurrent = getcurrent
        if is_pool(worker, "gevent"):
            import gevent
            self.end = lambda running: gevent.kill(running, block=False)
        elif is_pool(worker, "eventlet"):
            from eventlet import greenthread
            self.end = greenthread.kill
        self.running = {}  # by job: the greenlet; None: it has none yet

    def run(self):
        self.pool.start()
        self.frames.send(0, {"up": os.getpid()})
        while True:
            given = self.frames.receive()
            if given is None:
                break
            job, head, body = given
            if "stop" in head:
                self.stop(job)
                continue
            self.page.begin(max(job, self.page.begun))
            self.running[job] = None
            if len(self.running) > self.pool.limit and hasattr(self.pool, "grow"):
                self.pool.grow(1)
            self.pool.apply_async(self.one, (job, head, body), callback=lambda *_: None)
        self.pool.stop()

    def one(self, job, head, body):
        """Is called by the pool, in a thread or greenlet of its own."""
        try:
            if job not in self.running:
                raise Stopped()
            if self.getcurrent:
                self.running[job] = self.getcurrent()
            answer, _ = self.work(job, head, body)
        except BaseException as exc:
            self.current.record = None
            answer = outcome.gave_up(exc)
        finally:
            self.running.pop(job, None)
        self.end_copy()
        try:
            with self.lock:
                self.frames.send(job, answer, self.current.record or b"")
        except OSError as exc:
            self.cannot_answer(exc)
            os._exit(1)

    def stop(self, job):
        """Ends a job, as Celery's pools of greenlets do."""
        running = self.running.get(job)
        if running is not None:
            self.end(running)
        else:
            self.running.pop(job, None)


class Stopped(Exception):
    """Of a job that was to be stopped before it had begun."""
