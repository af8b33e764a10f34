"""What the Go worker has to know of the app."""
import importlib
import os
import sys

from apium_driver import calls, databases, hooks, refused, signing, spawned

TASK_OPTIONS = (
    "acks_late", "acks_on_failure_or_timeout", "acks_on_failure", "acks_on_timeout", "reject_on_worker_lost", "retry_on_worker_lost",
    "ignore_result", "track_started", "store_errors_even_if_ignored", "send_events", "rate_limit", "time_limit", "soft_time_limit",
    "max_retries", "default_retry_delay",
)


POOLS = {
    "celery.concurrency.prefork": "prefork", "celery.concurrency.solo": "solo", "celery.concurrency.thread": "threads",
    "celery.concurrency.gevent": "gevent", "celery.concurrency.eventlet": "eventlet",
}


def plain(value):
    return value if isinstance(value, (bool, int, float, str)) else None


def of(app, worker, options):
    export = exporter(app, options)
    settings, lost, consumed = export.settings(False), export.lost, dict(app.amqp.queues.consume_from)
    return {
        "pid": os.getpid(),
        "software": software(app),
        "loader": loader(app),
        "app": "%s:%#x" % (app.main or "__main__", id(app)),
        "tasks": {name: task_options(task) for name, task in app.tasks.items()},
        "publishing": {name: publishing(task) for name, task in app.tasks.items()},
        "settings": settings,
        "lost": lost,
        "hooks": dict(hooks.of(app, worker, [step for step, _ in refused.steps(worker)]), refused=refused.of(app, worker), beat=refused.of_beat(True)),
        "timezone": os.environ.get("TZ", ""),
        "queues": export.queues(consumed) if consumed else [],  # of none, Celery makes the default queue
        "changed": changed(app, worker, options["worker"]),
        "results": results(app),
        "signing": signing.of(app),
        "only_python_stores": databases.only_python(app.backend),
        "concurrency": worker.concurrency,
        "pool": pool(worker),
        "process": process(worker),
        "max_tasks_per_child": plain(worker.max_tasks_per_child),
        "proc_alive_timeout": plain(app.conf.get("worker_proc_alive_timeout")),
    }


def software(app):
    """The versions that Celery's report shows."""
    import celery
    versions = {"celery": celery.VERSION_BANNER, "py": sys.version.split()[0]}
    for name in ("kombu", "billiard"):
        versions[name] = importlib.import_module(name).__version__
    try:
        transport = app.connection().transport
        versions[transport.driver_name] = transport.driver_version()
    except Exception:
        pass  # no such transport: the broker's URL is told of where it is used
    return versions


def loader(app):
    return "%s.%s" % (type(app.loader).__module__, type(app.loader).__qualname__)


def results(app):
    """Where results go, without a password."""
    try:
        return app.backend.as_uri()
    except Exception:
        return ""


def exported(app, options):
    """The app's settings as data, and what cannot be written down."""
    export = exporter(app, options)
    return export.settings(False), export.lost


def pool(worker):
    """The name of the pool for -P; that of its class if it is none of Celery's own."""
    kind = worker.pool_cls
    return POOLS.get(kind.__module__) or "%s:%s" % (kind.__module__, kind.__name__)


def process(worker):
    """What children are called, without their numbers."""
    if pool(worker) != "prefork":
        return "MainProcess"
    return spawned.NAME if spawned.wanted(worker) else "ForkPoolWorker"


def exporter(app, options):
    module = {"__name__": "export_settings"}
    exec(compile(options["exporter"], "<apium export_settings.py>", "exec"), module)
    return module["Exporter"](app)


def changed(app, worker, arguments):
    """What receivers of celeryd_init and others have made of the worker, other than it was to be."""
    asked = {
        "concurrency": arguments.get("concurrency") or app.conf.worker_concurrency,
        "prefetch_multiplier": app.conf.worker_prefetch_multiplier,
    }
    found = {name: getattr(worker, name) for name, value in asked.items() if value and value != getattr(worker, name)}
    return {name: value for name, value in found.items() if type(value) is int and type(asked[name]) is int}


def publishing(task):
    """What the task is published with unless a call says otherwise (Task.apply_async)."""
    options = {name: plain(value) for name, value in task._get_exec_options().items() if plain(value) is not None}
    return dict(options, ignore_result=bool(task.ignore_result))


def task_options(task):
    options = {name: plain(getattr(task, name)) for name in TASK_OPTIONS if plain(getattr(task, name, None)) is not None}
    options["errback"] = calls.is_errback(task)
    return options
