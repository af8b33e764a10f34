"""An app that hooks in wherever a task passes by, and looks at its record there."""
from celery import Task, signals

from configured import celery_app, journal


def status(task, task_id):
    """What a client would read at this moment."""
    if task.ignore_result:
        return "not looked up"
    return task.backend.get_task_meta(task_id, cache=False)["status"]


class Hooked(Task):
    def before_start(self, task_id, args, kwargs):
        journal("before_start", task_id, status=status(self, task_id))

    def on_success(self, retval, task_id, args, kwargs):
        journal("on_success", task_id, status=status(self, task_id), retval=repr(retval))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        journal("on_failure", task_id, status=status(self, task_id), exc=repr(exc), einfo=type(einfo).__name__)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        journal("on_retry", task_id, status=status(self, task_id), exc=repr(exc))

    def after_return(self, state, retval, task_id, args, kwargs, einfo):
        journal("after_return", task_id, status=status(self, task_id), state=state)

    def __call__(self, *args, **kwargs):
        journal("__call__", self.request.id, argument=repr(args))
        return super(Hooked, self).__call__(*args, **kwargs)


class Plain(Task):
    abstract = True
    greeting = "hello"


app = celery_app(task_cls=Plain if __import__("os").environ.get("ONLY_SIGNALS") else Hooked)
import shoptasks  # noqa: E402,F401


def hear(name):
    def receiver(sender=None, **kwargs):
        kwargs.pop("signal", None)
        task_id = kwargs.get("task_id") or getattr(kwargs.get("request"), "id", None) or (kwargs.get("headers") or {}).get("id")
        if task_id is None and "request" in kwargs:
            task_id = getattr(kwargs["request"], "task_id", None)
        known = {"sender": getattr(sender, "name", None) or type(sender).__name__, "arguments": sorted(kwargs)}
        task = app.tasks.get(known["sender"])
        if name in ("task_postrun", "task_success", "task_failure", "task_prerun", "task_revoked") and task is not None:
            task_id = task_id or task.request.id
            known["status"] = status(task, task_id)
        journal(name, task_id, state=kwargs.get("state"), **known)
    getattr(signals, name).connect(receiver, weak=False)


for signal in "task_prerun task_postrun task_success task_failure task_retry task_received task_revoked task_rejected task_unknown task_internal_error".split():
    if hasattr(signals, signal):
        hear(signal)
