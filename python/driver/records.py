"""Hands the finished record of a task to the Go worker, which stores it along with many others.

Storing takes redis-py two round trips and two thirds of the time of a task that does nothing.
The record is Celery's own: only the write is left out. It is not where code of the app runs before
the task has ended that could look for the record: receivers of signals, methods of the task,
errbacks, the callback of a chord.
"""
import sys
from datetime import datetime
from functools import partial
from weakref import ReferenceType

from apium_driver import databases

# Their receivers and methods look at no record.
TRUSTED = ("celery", "opentelemetry", "sentry_sdk", "ddtrace", "newrelic", "elasticapm", "prometheus_client")


def of_others(function):
    """Tells whether a function is the app's, as far as is known."""
    return (getattr(function, "__module__", None) or "").split(".")[0] not in TRUSTED


class Onlookers(object):
    """Knows whether code of the app's hears of the end of a task, while its record is not yet stored."""

    METHODS = {"mark_as_done": ("on_success", "after_return"), "mark_as_failure": ("on_failure", "after_return"),
               "mark_as_retry": ("on_retry", "after_return")}

    def __init__(self, app):
        from celery import signals
        self.app = app
        post = signals.task_postrun
        self.signals = {"mark_as_done": (signals.task_success, post), "mark_as_failure": (signals.task_failure, post),
                        "mark_as_retry": (signals.task_retry, post)}
        self.known = {}  # by task and kind of end
        self.heard = {}  # by kind of end: the receivers that there were, and whether one is the app's

    def any(self, kind, name):
        now = [receiver for signal in self.signals[kind] for receiver in signal.receivers or ()]
        before, heard = self.heard.get(kind, (None, None))
        if before != now:
            heard = any(of_others(self.function(receiver)) for _, receiver in now)
            self.heard[kind] = now, heard
        return heard or self.has_methods(kind, name)

    @staticmethod
    def function(receiver):
        return receiver() if isinstance(receiver, ReferenceType) else receiver

    def has_methods(self, kind, name):
        try:
            return self.known[kind, name]
        except KeyError:
            task = self.app.tasks.get(name)
            own = any(of_others(getattr(task, method, None)) for method in self.METHODS[kind])
            self.known[kind, name] = own
            return own


def hand_over(app, current, direct):
    """direct: the worker can write results in SQL, or send them as messages."""
    backend = app.backend
    if is_plain_rpc(backend):
        if direct:
            hand_over_messages(app, current)
        return
    if not is_plain_redis(backend) and not (direct and databases.only_python(backend) == "" and databases.has_whole_records(backend)):
        return
    in_django = databases.is_django(backend)
    store, kind, maker = backend._store_result, type(backend), with_memory(app, backend)
    watch_ends(app, current)

    def store_result(task_id, result, state, traceback=None, request=None, **kwargs):
        if not current.ends or not task_id or task_id != current.task_id:
            return store(task_id, result, state, traceback, request=request, **kwargs)
        meta = kind._get_result_meta(maker, result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = task_id.decode() if isinstance(task_id, bytes) else task_id
        if in_django:
            databases.adapt(meta, backend, request)
        keep(current, backend.encode(meta), partial(store, task_id, result, state, traceback, request=request, **kwargs))
        return result

    backend._store_result = store_result


def hand_over_messages(app, current):
    """The same for results that are messages. Those of one task go one way: else a state could arrive after the end."""
    backend = app.backend
    store, kind, maker = backend.store_result, type(backend), with_memory(app, backend)
    if hasattr(kind, "_get_result_meta"):
        maker.__dict__["_get_result_meta"] = partial(kind._get_result_meta, maker)
    watch_ends(app, current)

    def store_result(task_id, result, state, traceback=None, request=None, **kwargs):
        if not current.ends or not task_id or task_id != current.task_id or current.spoke:
            current.spoke = True
            return store(task_id, result, state, traceback=traceback, request=request, **kwargs)
        if not backend.destination_for(task_id, request)[0]:
            return None
        record = backend.encode(kind._to_result(maker, task_id, state, result, traceback, request))
        keep(current, record, partial(store, task_id, result, state, traceback=traceback, request=request, **kwargs))
        return result

    backend.store_result = store_result


def keep(current, record, store):
    """Leaves a record to the worker. store is for the case that it cannot be told."""
    current.record = record if isinstance(record, bytes) else record.encode()
    current.store = store


def watch_ends(app, current):
    """Notes when the tracer stores the final record of the current task, and nobody of the app's looks on."""
    backend, onlookers = app.backend, Onlookers(app)

    def watch(name, alone):
        original = getattr(backend, name)

        def marked(task_id, *args, **kwargs):
            request = kwargs.get("request")
            if request is None and name == "mark_as_done" and len(args) > 1:
                request = args[1]
            if (
                not current.job or task_id != current.task_id or request is None or not alone(request)
                or onlookers.any(name, request.task)
            ):
                return original(task_id, *args, **kwargs)
            current.ends = True
            try:
                return original(task_id, *args, **kwargs)
            finally:
                current.ends = False

        setattr(backend, name, marked)

    watch("mark_as_done", lambda request: not request.chord)
    watch("mark_as_retry", lambda request: True)
    watch("mark_as_failure", lambda request: not request.chord and not request.errbacks and not request.chain)


class Knowing(object):
    """Something that answers a few questions itself."""

    def __init__(self, something, **answers):
        self.__dict__.update(answers, something=something)

    def __getattr__(self, name):
        return getattr(self.something, name)


def with_memory(app, backend):
    """The backend for Celery's own function that makes a record, which asks for the time in the app's zone,
    and whether records are extended. To find that out takes Celery an eighth of the time of a task that does nothing.
    """
    from celery import Celery
    known = {}

    def find_value_for_key(name, namespace):
        try:
            return known[name, namespace]
        except KeyError:
            known[name, namespace] = value = app.conf.find_value_for_key(name, namespace)
            return value

    def now():
        try:
            zone = known["zone"]
        except KeyError:
            zone = known["zone"] = app.timezone
        return datetime.now(zone)

    if getattr(app.now, "__func__", None) is not Celery.now:
        now = app.now
    conf = Knowing(app.conf, find_value_for_key=find_value_for_key)
    return Knowing(
        backend, app=Knowing(app, conf=conf, now=now),
        READY_STATES=backend.READY_STATES, current_task_children=backend.current_task_children,
    )


def is_plain_rpc(backend):
    """Tells whether records are messages of JSON, as the Go worker sends them, too."""
    module = sys.modules.get("celery.backends.rpc")
    if module is None:
        return False
    kind = module.RPCBackend
    return isinstance(backend, kind) and backend.serializer == "json" and type(backend).store_result is kind.store_result


def is_plain_redis(backend):
    """Tells whether records are what the Go worker writes, too: JSON in Celery's Redis backend."""
    from celery.backends.base import BaseKeyValueStoreBackend
    try:
        from celery.backends.redis import RedisBackend
    except ImportError:
        return False
    kind = type(backend)
    return (
        isinstance(backend, RedisBackend) and backend.serializer == "json" and not getattr(backend, "compression", None)
        and kind._store_result is BaseKeyValueStoreBackend._store_result and kind.__module__ == "celery.backends.redis"
    )
