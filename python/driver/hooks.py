"""What the app hangs in Celery's MainProcess."""
import inspect
import weakref

from apium_driver import outcome

# What receivers in the MainProcess are sent, besides what is sent while the app is loaded.
SIGNALS = (
    "worker_ready", "worker_shutting_down", "worker_shutdown", "task_received", "task_revoked", "task_rejected", "task_unknown",
    "heartbeat_sent", "worker_before_create_process",
)


def of(app, worker, without):
    """What the stand-in has to serve; it does without some of the app's bootsteps."""
    return {
        "signals": [name for name in SIGNALS if receivers(name)],
        "steps": [qualified(step) for step in worker.steps + worker.consumer.steps if is_apps(type(step)) and step not in without],
        "commands": commands(),
        "failures": failures(app),
    }


def commands():
    from celery.worker.control import Panel
    return {name: Panel.meta[name].type if name in Panel.meta else "" for name, fun in Panel.data.items() if is_apps(fun)}


def failures(app):
    """Which failures that the MainProcess finds the app is told of: this differs by version."""
    from celery.app.trace import task_has_custom
    from celery.worker.request import Request
    heard = bool(receivers("task_failure"))
    told = {"lost": False, "limit": False, "rejected": heard and outcome.rejecting_fails()}
    if "task_failure" in inspect.getsource(Request.on_failure):
        told["lost"] = heard
    if "task_failure" in inspect.getsource(Request.on_timeout):
        custom = [name for name, task in app.tasks.items() if task_has_custom(task, "on_failure") or task_has_custom(task, "after_return")]
        told["limit"] = heard or bool(custom)
    return told


def receivers(name):
    """The receivers of a signal that are the app's, or a library's."""
    from celery import signals
    found = []
    for _, receiver in getattr(getattr(signals, name, None), "receivers", None) or ():  # a version may not have the signal
        if isinstance(receiver, weakref.ReferenceType):
            receiver = receiver()
        if receiver is not None and is_apps(receiver):
            found.append(receiver)
    return found


def is_apps(thing):
    module = getattr(thing, "__module__", None) or ""
    return module != "celery" and not module.startswith("celery.")


def qualified(thing):
    """Names a class or function as the app's author knows it."""
    kind = thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)
    # Bootsteps have a __qualname__ with their module in it.
    name = kind.__name__ if inspect.isclass(kind) else kind.__qualname__
    return "%s.%s%s" % (kind.__module__, name, place(kind))


def place(kind):
    """Where it is defined. A bootstep's class cannot be found by its name: its first method is."""
    try:
        return " (%s:%d)" % (inspect.getsourcefile(kind), inspect.getsourcelines(kind)[1])
    except (OSError, TypeError):
        codes = [fun.__code__ for fun in vars(kind).values() if inspect.isfunction(fun)] if inspect.isclass(kind) else []
        return " (%s:%d)" % min((code.co_filename, code.co_firstlineno) for code in codes) if codes else ""
