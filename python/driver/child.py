"""A child: Celery's own tracer, with the Go worker where Celery's MainProcess would be."""
import ctypes
import logging
import mmap
import os
import random
import signal
import struct
import sys

from apium_driver import calls, claims, outcome, records, results
from apium_driver.request import Requests
from apium_driver.wire import Frames

RECYCLED = 0x9B  # billiard's exit code of a child that makes way for a new one
NUMBER = struct.Struct("Q")

try:
    LIBC = ctypes.CDLL(None)
except Exception:
    LIBC = None


class Page(object):
    """Memory that the Go worker and the fork server share with one child: four numbers.

    begun    the last job that the child has begun, which the Go worker reads when it has ended
    stopped  the job that the soft time limit is to interrupt: a signal alone would hit
             whatever runs when it arrives
    stops    how often there was one, which tells such a signal from somebody else's
    claimed  not 0 while the child has a claim on a chord whose body it has not published yet
    """

    def __init__(self, fd=-1):
        self.memory = mmap.mmap(fd, mmap.PAGESIZE)
        self.close = self.memory.close

    def begin(self, job):
        NUMBER.pack_into(self.memory, 0, job)

    def claim(self, claimed):
        NUMBER.pack_into(self.memory, 3 * NUMBER.size, claimed)

    @property
    def begun(self):
        return NUMBER.unpack_from(self.memory, 0)[0]

    @property
    def stopped(self):
        return NUMBER.unpack_from(self.memory, NUMBER.size)[0]

    @property
    def stops(self):
        return NUMBER.unpack_from(self.memory, 2 * NUMBER.size)[0]

    def stop(self, job):
        NUMBER.pack_into(self.memory, NUMBER.size, job)
        NUMBER.pack_into(self.memory, 2 * NUMBER.size, self.stops + 1)


class Current(object):
    """What a child is working on."""

    job = 0  # 0: nothing
    stops = 0  # that there were
    task_id = None
    ends = False  # the tracer is storing its final record
    record = None  # the finished record, if the worker is to store it
    store = None  # stores it here
    spoke = False  # it has sent a record itself
    claims = False  # a chord, as it is about to publish the body
    ending = None  # of that chord, until the body is published
    ended = None  # the token of the chord that has ended as its body was published
    returned = None  # what the task has returned, if the worker wants to know it
    part = None  # the result, if the worker is to count the task as a part of its chord


def die_with(parent):
    """Has the kernel kill this process when its parent ends. Celery 4.4 does not do that itself."""
    try:
        LIBC.prctl(1, signal.SIGKILL)
    except Exception:
        pass  # not Linux: the end of its socket ends an idle child
    if os.getppid() != parent:
        os._exit(1)


def become(name, number, index):
    """Does what billiard does in a new process before it calls Celery's code."""
    from billiard import process, util
    random.seed()
    this = process.Process(name="%s-%d" % (name, number))
    this._identity = (number,)
    this.daemon = True
    this.index = index
    try:
        sys.stdin.close()
        sys.stdin = open(os.devnull)
    except (OSError, ValueError):
        pass
    process._set_current_process(this)
    known = [name for name, logger in logging.Logger.manager.loggerDict.items() if not isinstance(logger, logging.PlaceHolder)]
    for name in [None] + known:
        for handler in logging.getLogger(name).handlers:
            handler.createLock()
    util._finalizer_registry.clear()
    util._run_after_forkers()


def child(app, worker, options, number, index, fd, page, parent, name="ForkPoolWorker"):
    """Runs jobs until there are no more. Returns the exit code."""
    die_with(parent)
    become(name, number, index)
    from celery.concurrency.prefork import process_destructor, process_initializer
    current = Current()
    # Before Celery builds its tracers: 4.4 looks the backend's methods up there.
    records.hand_over(app, current, options["direct"])
    claims.share(app, current, page, options["claim"])
    process_initializer(app, worker.hostname)
    handle_signals(current, page)
    code = 0
    try:
        in_workloop(Loop(app, worker, options, Frames(fd), current, page).run)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except KeyboardInterrupt:
        pass
    finally:
        process_destructor(os.getpid(), code)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass
    if code < -signal.NSIG:  # billiard's way to say that a signal has ended this process
        signum = code + 256
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    return code


def in_workloop(run):
    """Runs a loop inside billiard's own, and ends with a SystemExit that has its exit code.

    Some, such as Sentry, wrap billiard's loop to send what is left when a process ends.
    """
    from billiard.pool import Worker

    class Shell(Worker):
        outq = maxtasks = max_memory_per_child = inqW_fd = synqW_fd = synq = wait_for_syn = on_ready_counter = None

        def __init__(self):
            self.outq = self

        def put(self, message):
            raise RuntimeError("nothing goes through billiard's queue: %r" % (message,))

        def wait_for_job(self):
            raise SystemExit(run())

    Shell().workloop(pid=os.getpid())


def handle_signals(current, page):
    """Sets the handlers that billiard sets, but for the soft time limit, which names its job."""
    from billiard.common import reset_signals
    from billiard.exceptions import SoftTimeLimitExceeded
    try:
        from billiard.common import clear_terminate_handler_fired
        clear_terminate_handler_fired()
    except ImportError:
        pass  # billiard before 4.3
    for signum in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_DFL)  # billiard leaves alone what is ignored
    reset_signals(full=False)

    def soft_limit(signum, frame):
        stops, current.stops = current.stops, page.stops
        if current.job and (stops == page.stops or page.stopped == current.job):
            raise SoftTimeLimitExceeded()

    signal.signal(signal.SIGUSR1, soft_limit)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Loop(object):
    """Takes one job after the other."""

    def __init__(self, app, worker, options, frames, current, page):
        from celery.app import trace
        self.app, self.frames, self.current, self.page = app, frames, current, page
        self.requests = Requests(app, worker.hostname)
        self.trace = getattr(trace, "fast_trace_task", None) or trace._fast_trace_task
        self.max_tasks = worker.max_tasks_per_child or 0
        self.max_memory = worker.max_memory_per_child or 0
        self.completed = 0
        self.pid = os.getpid()

    def run(self):
        self.frames.send(0, {"up": os.getpid()})
        while True:
            given = self.frames.receive()
            if given is None:
                return 0
            job, head, body = given
            self.page.begin(job)
            answer, leaving = self.work(job, head, body)
            self.end_copy(leaving)
            self.completed += 1
            code = RECYCLED if not leaving and self.is_used_up() else 0
            if leaving or code:
                answer["leaving"] = True
            try:
                self.frames.send(job, answer, self.current.record or b"")
            except OSError as exc:
                self.cannot_answer(exc)
                return 1
            if leaving:
                raise leaving
            if code:
                return code

    def work(self, job, head, body):
        """Returns the answer, and the exception that ends this process if there is one."""
        current = self.current
        current.record, current.store, current.spoke, current.part = None, None, False, None
        if "store" in head:
            return results.store(self.app, body), None
        if "read" in head:
            answer, current.record = calls.read(self.requests, head, body)
            return answer, None
        if "call" in head:
            answer, current.record = calls.call(self.app, head, body)
            return answer, None
        try:
            arguments = self.requests.arguments(head, body)
            current.task_id = arguments[1]
            current.job = job
            if "tell" in head:
                outcome.keep_returned(self.app.tasks[arguments[0]], current)
            try:
                failed, value, runtime = self.trace(*arguments)
            finally:
                current.job = 0
                claims.end(current, self.page)
            answer = outcome.failed(self.app, arguments[2], value, runtime) if failed else outcome.succeeded(value, runtime)
            if current.part is not None:
                answer["part"] = current.part
            if "tell" in head and not failed:
                answer["result"] = outcome.returned(self.app, current)
            return answer, None
        except (SystemExit, KeyboardInterrupt) as exc:
            if terminated() or not outcome.says_that_it_exits():
                raise  # the worker sees this process end
            current.record = None
            return outcome.exits(exc), exc
        except BaseException as exc:
            if terminated():
                raise
            current.record = None
            return outcome.gave_up(exc), None

    def cannot_answer(self, exc):
        """Stores what the worker should have stored. The task has closed descriptors that are not its own, such as all
        that there are: as in Celery, this process is lost, and what became of the task is not."""
        from billiard.util import error
        error("Pool process %d error: %r", self.pid, exc, exc_info=True)
        if self.current.record is not None:
            self.current.store()

    def end_copy(self, leaving=None):
        """Ends a process that a task has forked and that comes back from it: the job is the other one's to answer for."""
        if os.getpid() != self.pid:
            os._exit(leaving.code if leaving and isinstance(getattr(leaving, "code", None), int) else 0)

    def is_used_up(self):
        if self.max_tasks and self.completed >= self.max_tasks:
            return True
        if not self.max_memory:
            return False
        from billiard.compat import mem_rss
        used = mem_rss()
        if used <= self.max_memory:
            return False
        from billiard.pool import MAXMEM_USED_FMT, warning
        warning(MAXMEM_USED_FMT.format(used, self.max_memory))
        return True


def terminated():
    """Tells whether a signal is ending this process."""
    from billiard import common
    if outcome.says_that_it_exits():
        return common.terminate_handler_fired()
    return bool(common._should_have_exited[0])
