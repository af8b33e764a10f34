"""What the app hangs in Celery's MainProcess and nothing can stand in for, and why."""
import inspect
import types

from apium_driver import hooks

# What a step of the consumer finds only where messages are consumed.
OF_CONSUMERS = {
    "connection", "task_consumer", "event_dispatcher", "pool", "qos", "strategies", "on_task_message", "on_task_request", "gossip", "channel",
}
# What celery.worker.state counts in a process that receives tasks.
COUNTED = ("requests", "active_requests", "reserved_requests", "total_count", "all_total_count")

# What Celery's beat tells the app of, in its own process.
OF_BEAT = ("beat_init", "before_task_publish", "after_task_publish")


def of_beat(embedded):
    """What hears of a beat, which is no Python process here."""
    found = []
    for name in OF_BEAT + (("beat_embedded_init",) if embedded else ()):
        for receiver in hooks.receivers(name):
            if not (getattr(receiver, "__module__", None) or "").startswith("redbeat."):  # Apium takes its lock itself
                found.append({"what": hooks.qualified(receiver), "why": "a receiver of %s: Apium's beat sends without Python" % name})
    return found


def of(app, worker):
    """Names each thing as its author knows it."""
    found = []

    def refuse(thing, why):
        entry = {"what": hooks.qualified(thing), "why": why}
        if entry not in found:
            found.append(entry)

    for made, kind in ((worker, "worker"), (worker.consumer, "consumer"), (worker.pool, "pool")):
        for own in owns(type(made)):
            refuse(own, "a %s of the app's own: Apium is that" % kind)
    for setting, kind in ((worker.autoscaler_cls, "autoscaler"), (worker.timer_cls, "timer")):
        for own in owns(symbol(setting)):
            refuse(own, "an %s of the app's own: Apium has one" % kind if kind[0] == "a" else "a %s of the app's own: Apium has one" % kind)
    for name, task in sorted(app.tasks.items()):
        for own in owns(symbol(task.Request))[:1]:
            refuse(own, "the Request of task %s: Apium has requests of its own" % name)
        strategy = symbol(task.Strategy)
        if hooks.is_apps(strategy):
            refuse(strategy, "the Strategy of task %s: Apium decides which task runs when" % name)
    for step, why in steps(worker):
        refuse(step, why)
    for fun, kind in others():
        if counts(fun):
            refuse(fun, "%s that reads celery.worker.state: Apium counts tasks elsewhere" % kind)
    return found


def steps(worker):
    """The app's bootsteps that cannot be started, with the reasons."""
    from celery import bootsteps
    found = []
    for step in worker.blueprint.order + worker.consumer.blueprint.order:
        kind = type(step)
        if not hooks.is_apps(kind):
            continue
        if isinstance(step, bootsteps.ConsumerStep):
            found.append((step, "a bootstep that consumes messages"))
        elif any(base.__module__.startswith("celery.worker.") for base in kind.__mro__):
            found.append((step, "a bootstep in the place of one of Celery's"))
        elif step in worker.consumer.blueprint.order and touches(kind, OF_CONSUMERS):
            found.append((step, "a bootstep that uses the consumer's " + ", ".join(sorted(touches(kind, OF_CONSUMERS)))))
        elif any(counts(fun) for fun in methods(kind)):
            found.append((step, "a bootstep that reads celery.worker.state: Apium counts tasks elsewhere"))
    return found


def others():
    from celery.worker.control import Panel
    for fun in Panel.data.values():
        if hooks.is_apps(fun):
            yield fun, "a command of remote control"
    for name in hooks.SIGNALS:
        for receiver in hooks.receivers(name):
            yield receiver, "a receiver of " + name


def symbol(value):
    from celery.utils.imports import symbol_by_name
    return symbol_by_name(value) if value else None


def owns(kind):
    """The classes of the app's that a class is made of."""
    if not inspect.isclass(kind):
        return []
    return [base for base in kind.__mro__ if hooks.is_apps(base) and base.__module__.partition(".")[0] not in ("builtins", "kombu", "threading", "gevent", "eventlet")]


def methods(kind):
    return [fun for own in owns(kind) for fun in vars(own).values() if inspect.isfunction(fun)]


def codes(code):
    """A function's code, and that of the functions in it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            for inner in codes(part):
                yield inner


def touches(kind, names):
    """Which attributes of these names the methods of a class use."""
    return {
        name for fun in methods(kind) for code in codes(fun.__code__) for name in code.co_names
        if name in names and name not in fun.__globals__
    }


def counts(fun):
    """Whether a function uses what celery.worker.state counts."""
    from celery.worker import state
    fun = inspect.unwrap(getattr(fun, "__func__", fun))
    if not inspect.isfunction(fun):
        return False
    counted = [state] + [getattr(state, name) for name in COUNTED]
    for code in codes(fun.__code__):
        for name in code.co_names:
            if name == "celery.worker.state" or any(fun.__globals__.get(name) is value for value in counted):
                return True
        if "celery.worker" in code.co_names and "state" in code.co_names:
            return True
    return False
