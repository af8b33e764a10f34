"""The tasks of the parity tests. They belong to no app: whoever imports them has them.

Runs on Celery 4.4, 5.2 and 5.7.
"""
import ctypes
import datetime
import logging
import os
import signal
import sys
import threading
import time

from celery import Task, chain, chord, current_app, group, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from configured import first_time, journal

log = get_task_logger(__name__)
plain = logging.getLogger("shop.plain")


class OutOfStock(Exception):
    def __init__(self, item, left=0):
        super(OutOfStock, self).__init__(item, left)
        self.item = item


class Stubborn(Exception):
    """Cannot be pickled, nor made from its args."""

    def __init__(self, a, b):
        super(Stubborn, self).__init__("stubborn %s %s" % (a, b))
        self.hook = lambda: a


class Unspeakable(Exception):
    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __repr__


@shared_task
def add(x, y):
    return x + y


@shared_task
def same(x):
    return x


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task
def make(kind):
    """Returns something that JSON has no word of its own for, or a hard one."""
    return {
        "none": None, "float": 1e300, "tiny": 5e-324, "nan": float("nan"), "int": 2 ** 70, "text": u"it's \u20ac \U0001f600 \x00 \u2028",
        "tuple": (1, (2, 3)), "bool": True, "nested": {"a": [1, {"b": [None]}], u"\xe9": ""}, "keys": {1: "int", None: "none", True: "t"},
        "date": datetime.datetime(2024, 2, 29, 12, 30, 1, 5), "day": datetime.date(2024, 2, 29), "decimal": __import__("decimal").Decimal("1.10"),
        "uuid": __import__("uuid").UUID(int=5), "empty": "", "list": list(range(50)), "bytes": b"ab\xff",
        "set": {1}, "object": Opaque(), "generator": (i for i in range(3)), "exception": ValueError("returned"), "class": OutOfStock,
        "surrogate": "\ud800", "delta": datetime.timedelta(seconds=90),
    }[kind]


class Opaque(object):
    def __repr__(self):
        return "<opaque>"


@shared_task
def big(n):
    return "x" * n


@shared_task
def size(text):
    return len(text)


@shared_task
def fail(kind="KeyError", *args):
    if kind == "stubborn":
        raise Stubborn(1, 2)
    if kind == "unspeakable":
        raise Unspeakable()
    if kind == "local":
        raise type("Local", (Exception,), {"__module__": "nowhere"})("hidden")
    if kind == "chained":
        try:
            {}["missing"]
        except KeyError as exc:
            raise OutOfStock("beans", 3) from exc
    if kind == "OutOfStock":
        raise OutOfStock(*args)
    if kind == "base":
        raise type("Root", (BaseException,), {"__module__": "nowhere"})("not an Exception")
    raise getattr(__import__("builtins"), kind)(*args)


@shared_task(throws=(KeyError,))
def expected_failure():
    raise KeyError("expected")


@shared_task(bind=True, max_retries=3)
def flaky(self, failures, countdown=1):
    if self.request.retries < failures:
        raise self.retry(exc=OutOfStock("again", self.request.retries), countdown=countdown)
    return self.request.retries


@shared_task(bind=True, max_retries=1)
def flaky_plain(self):
    """Retries without saying why."""
    self.retry(countdown=1)


@shared_task(bind=True)
def flaky_elsewhere(self, x):
    if not self.request.retries:
        raise self.retry(args=[x + 1], queue="other", priority=3, countdown=1)
    return x


@shared_task(autoretry_for=(OutOfStock,), retry_kwargs={"max_retries": 2, "countdown": 1})
def automatic(failing):
    raise (OutOfStock("auto") if failing else ValueError("not retried"))


@shared_task
def ignores():
    raise Ignore()


@shared_task(bind=True, acks_late=True)
def rejects(self, requeue):
    if requeue and not first_time(self.request.id):
        return "second delivery"
    raise Reject("no", requeue=requeue)


@shared_task
def rejects_early(requeue=False):
    raise Reject("no", requeue=requeue)


@shared_task(bind=True)
def progress(self):
    """Tells of its progress, and what the record says then."""
    self.update_state(state="PROGRESS", meta={"done": 1, "of": 2})
    meta = self.backend.get_task_meta(self.request.id, cache=False) if self.backend else None
    return [meta["status"], meta["result"]]


@shared_task(bind=True)
def progress_fails(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    raise ValueError("after progress")


@shared_task(bind=True)
def custom_state_ignored(self):
    self.update_state(state="PARKED", meta={"why": "own state stays"})
    raise Ignore()


@shared_task(ignore_result=True)
def quiet(x):
    journal("quiet", quiet.request.id, x=x)
    return x


@shared_task(ignore_result=True)
def quiet_fails():
    raise ValueError("nobody asks")


@shared_task(ignore_result=True, store_errors_even_if_ignored=True)
def quiet_but_errors():
    raise ValueError("stored all the same")


@shared_task(bind=True, track_started=True)
def started(self):
    """What the record says while the task runs."""
    meta = self.backend.get_task_meta(self.request.id, cache=False)
    return [meta["status"], sorted(meta["result"]), meta["result"]["pid"] == os.getpid()]


FIELDS = """hostname delivery_info origin parent_id root_id group group_index headers id task args kwargs retries eta expires
timelimit is_eager called_directly correlation_id reply_to argsrepr kwargsrepr lang shadow ignore_result chain chord callbacks
errbacks utc taskset properties stamped_headers stamps replaced_task_nesting priority _protected redelivered children
compression content_type content_encoding body_encoding delivery_tag delivery_mode""".split()


def plainly(value):
    """What JSON can carry of a value."""
    if isinstance(value, dict):
        return {str(k): plainly(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plainly(v) for v in value]
    if isinstance(value, (type(None), bool, int, float, str)):
        return value
    return "%s %s" % (type(value).__name__, value)


@shared_task(bind=True)
def request(self, *args, **kwargs):
    """All that a task may know of its own execution."""
    r = self.request
    known = {field: plainly(getattr(r, field, "no such field")) for field in FIELDS}
    known["more"] = sorted(k for k in vars(r) if k not in FIELDS)
    known["task request stack"] = len(self.request_stack)
    known["current task"] = current_app.current_task.name
    known["worker task"] = current_app.current_worker_task and current_app.current_worker_task.name
    known["finalized"] = [current_app.finalized, current_app.set_as_current, type(self.app).__name__]
    known["eager"] = self.app.conf.task_always_eager
    return known


@shared_task
def spawns(n):
    """Sends tasks of its own."""
    return [add.delay(i, i).id for i in range(n)]


@shared_task(bind=True)
def spawns_all_kinds(self):
    chain(add.s(1, 2), add.s(3)).delay()
    chord([add.s(1, 1)], total.s()).delay()
    current_app.send_task("shoptasks.add", (5, 5), headers={"mine": 1}, priority=4)
    return len(self.request.children)


@shared_task(trail=False)
def spawns_untracked():
    add.delay(7, 7)


@shared_task
def waits_for_another():
    return add.delay(1, 1).get()


@shared_task
def waits_and_may():
    return add.delay(1, 1).get(disable_sync_subtasks=False, timeout=60)


@shared_task(bind=True)
def becomes(self, n):
    if n == 0:
        return "end"
    raise self.replace(becomes.s(n - 1))


@shared_task(bind=True)
def becomes_group(self):
    raise self.replace(group(add.s(i, i) for i in range(3)))


@shared_task(bind=True)
def becomes_chain(self):
    raise self.replace(chain(add.s(1, 2), add.s(10)))


@shared_task(bind=True)
def becomes_chord(self):
    raise self.replace(chord([add.s(1, 2), add.s(3, 4)], total.s()))


@shared_task(bind=True)
def joins_in(self, x):
    """Adds a member to the chord it belongs to."""
    self.add_to_chord(add.s(x, 100))
    return x


@shared_task
def errback(request, exc, traceback):
    journal("errback", request.id, exc=repr(exc), traceback=bool(traceback), task=request.task)


@shared_task
def old_errback(task_id):
    journal("old errback", task_id)


@shared_task(bind=True)
def failing_errback(self, *args):
    raise RuntimeError("errback fails")


@shared_task
def callback(result):
    journal("callback", callback.request.id, result=result)


@shared_task
def speaks():
    """Prints and logs in all the ways there are."""
    print("printed")
    print("two\nlines")
    sys.stdout.write("no newline")
    sys.stderr.write("to stderr\n")
    log.debug("task logger debug")
    log.info("task logger %s", "info")
    log.warning("task logger warning", extra={"x": 1})
    plain.debug("plain debug")
    plain.info("plain info")
    plain.warning("plain warning")
    logging.getLogger().info("root info")
    logging.getLogger().error("root error")
    logging.getLogger("celery.mine").info("below celery")
    try:
        {}["x"]
    except KeyError:
        log.exception("with traceback")
    return sys.stdout.__class__.__name__


@shared_task
def logging_setup():
    """How logging is set up where tasks run."""
    def told(name):
        logger = logging.getLogger(name)
        handlers = [[type(h).__name__, h.level, type(h.formatter).__name__, getattr(h.formatter, "_fmt", None)] for h in logger.handlers]
        return [logger.level, logger.getEffectiveLevel(), logger.propagate, logger.disabled, handlers]
    return {str(name): told(name) for name in (None, "celery", "celery.task", "celery.worker", "celery.redirected", "shoptasks", "shop.plain")}


@shared_task
def surroundings():
    """What a task may notice of the process it runs in."""
    import multiprocessing
    import billiard
    from celery._state import get_current_app
    return {
        "name": multiprocessing.current_process().name, "daemon": [multiprocessing.current_process().daemon, billiard.current_process().daemon],
        "billiard": billiard.current_process().name, "index": isinstance(billiard.current_process().index, int),
        "app": get_current_app().main, "thread": threading.current_thread().name, "threads": threading.active_count(),
        "main thread": threading.current_thread() is threading.main_thread(),
        "stdin": sys.stdin.read(), "cwd": os.path.basename(os.getcwd()),
        "signals": {s: str(signal.getsignal(getattr(signal, s))).split(" at ")[0] for s in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2", "SIGQUIT", "SIGCHLD", "SIGALRM", "SIGPIPE")},
        "FORKED": {k: v for k, v in os.environ.items() if "FORKED" in k or k in ("CELERY_LOG_LEVEL", "CELERY_LOG_FILE", "CELERY_LOG_REDIRECT", "CELERY_LOG_REDIRECT_LEVEL")},
        "recursion": sys.getrecursionlimit(), "umask": oct(_umask()), "path0": sys.path[0] == os.getcwd() or sys.path[0],
        "group": os.getpgrp() == os.getpid(),
    }


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@shared_task
def pid(key=None):
    if key:
        journal("pid", pid.request.id, key=key)
    return os.getpid()


@shared_task
def starts_process():
    import multiprocessing
    p = multiprocessing.Process(target=int)
    p.start()
    p.join()
    return p.exitcode


@shared_task
def starts_billiard_process():
    import billiard
    p = billiard.Process(target=int)
    p.start()
    p.join()
    return p.exitcode


@shared_task
def starts_subprocess():
    import subprocess
    return subprocess.check_output([sys.executable, "-S", "-c", "import sys; print(sys.stdin.read() + 'out')"], stdin=subprocess.DEVNULL).decode().strip()


@shared_task
def starts_thread():
    seen = []
    t = threading.Thread(target=lambda: seen.append(threading.current_thread().daemon))
    t.start()
    t.join()
    return seen


@shared_task
def starts_async():
    import asyncio

    async def both():
        return await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))
    return asyncio.run(both())


@shared_task
def out_of_memory():
    raise MemoryError("no more")


@shared_task
def recurses():
    return recurses.run()


@shared_task
def keyboard():
    raise KeyboardInterrupt()


@shared_task
def sleeps(seconds, key=None):
    journal("sleeps", sleeps.request.id, key=key)
    time.sleep(seconds)
    return seconds


@shared_task(acks_late=True)
def sleeps_late(seconds):
    journal("sleeps", sleeps_late.request.id)
    time.sleep(seconds)
    return seconds


@shared_task(soft_time_limit=1)
def soft_caught():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded as exc:
        return "caught %r" % (exc,)


@shared_task(soft_time_limit=1)
def soft_uncaught():
    time.sleep(60)


@shared_task(soft_time_limit=1, time_limit=2)
def soft_then_hard():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        time.sleep(60)


@shared_task(time_limit=1)
def hard():
    time.sleep(60)


@shared_task(time_limit=1)
def hard_deaf():
    """Does not hear SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


@shared_task(time_limit=1, acks_late=True, acks_on_failure_or_timeout=False)
def hard_not_acknowledged():
    if not first_time(hard_not_acknowledged.request.id):
        return "second delivery"
    time.sleep(60)


def _die(how):
    time.sleep(.3)  # Celery gives a job to another child if it has not heard yet that it was accepted
    if how == "exit":
        os._exit(3)
    elif how == "exit 0":
        os._exit(0)
    elif how == "segv":
        ctypes.string_at(0)
    elif how == "sys.exit":
        sys.exit(4)
    elif how == "sys.exit text":
        sys.exit("a reason")
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    elif how == "abort":
        os.abort()
    elif how == "usr1":  # nobody has a soft time limit: as somebody's own SIGUSR1
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(60)


@shared_task
def dies(how):
    _die(how)


def _dies_once(self, how):
    journal("attempt", self.request.id, retries=self.request.retries, redelivered=bool(self.request.delivery_info.get("redelivered")))
    if first_time(self.request.id):
        _die(how)
    return "survived"


@shared_task(bind=True, acks_late=True)
def dies_late(self, how):
    return _dies_once(self, how)


@shared_task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_rejected(self, how):
    return _dies_once(self, how)


@shared_task(bind=True, reject_on_worker_lost=True)
def dies_early_rejected(self, how):
    return _dies_once(self, how)


@shared_task(bind=True, retry_on_worker_lost=True, max_retries=2, default_retry_delay=1)
def dies_retried(self, how):
    return _dies_once(self, how)


@shared_task(bind=True, acks_late=True, retry_on_worker_lost=True, reject_on_worker_lost=True, default_retry_delay=1)
def dies_all(self, how):
    return _dies_once(self, how)


class Fatal(Task):
    def on_success(self, *args):
        _die("kill")


@shared_task(base=Fatal)
def dies_afterwards():
    return "stored"


@shared_task(base=Fatal, acks_late=True, reject_on_worker_lost=True)
def dies_afterwards_late():
    return "stored"


@shared_task
def closes_all():
    """What daemons do. What the process talks to the worker and to the broker with is closed, too."""
    add.delay(0, 0)  # so that there is a connection to the broker, whatever the process has run before
    os.closerange(3, 4096)
    return "closed"


@shared_task
def closes_all_and_opens():
    os.closerange(3, 4096)
    for _ in range(20):
        KEPT.append(open(os.devnull, "w"))
    return "closed"


@shared_task(acks_late=True, acks_on_failure_or_timeout=False)
def fails_not_acknowledged():
    if not first_time(fails_not_acknowledged.request.id):
        return "second delivery"
    raise ValueError("comes again")


LEAK, KEPT = [], []


@shared_task
def leaks(megabytes):
    LEAK.append(bytearray(megabytes << 20))
    return len(LEAK)


@shared_task(rate_limit="20/s")
def limited(i):
    return i


@shared_task
def eager_inside():
    """Calls tasks in its own process."""
    direct = add(1, 2)
    applied = add.apply((3, 4))
    failed = fail.apply(("ValueError", "eager"))
    retried = flaky.apply((1,))
    return [direct, applied.state, applied.result, failed.state, repr(failed.result), retried.state, retried.result, chain(add.s(1, 1), add.s(2)).apply().get()]


@shared_task
def always_eager():
    current_app.conf.task_always_eager = True
    try:
        return add.delay(20, 22).get(disable_sync_subtasks=False)
    finally:
        current_app.conf.task_always_eager = False


@shared_task(name="shop.renamed", bind=True)
def renamed(self):
    return self.name


@shared_task(serializer="json", priority=5, queue="other", expires=300, send_events=True)
def with_options(x):
    return x


@shared_task(send_events=False)
def silent(x):
    return x


@shared_task(typing=False)
def untyped(a):
    return a


@shared_task
def sends_events(n):
    sends_events.send_event("task-step", step=n)
    return n


@shared_task
def check(basket):
    """Takes and returns an object of a class."""
    from classes import Basket
    return Basket([basket.items, type(basket).__name__])


@shared_task(bind=True)
def check_again(self, basket):
    if not self.request.retries:
        raise self.retry(countdown=.2)
    return check(basket)


@shared_task
def check_all(baskets):
    return sorted(repr(b) for b in baskets)


@shared_task
def steals(basket):
    from classes import Stolen
    raise Stolen(basket)


@shared_task
def title():
    """How ps shows this process, its parent and their children."""
    import subprocess
    lines = subprocess.check_output(["ps", "-o", "args=", "-p", str(os.getpid())]).decode().strip()
    return lines
