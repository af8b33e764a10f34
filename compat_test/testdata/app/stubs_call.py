"""Imports a module that apium stubs --python has written, and calls its tasks.

stubs_call.py FILE prints what became of the calls.
"""
import importlib.util
import json
import sys

from celery import Celery

app = Celery("calls", broker="memory://", set_as_current=True)
spec = importlib.util.spec_from_file_location("stubs", sys.argv[1])
stubs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stubs)


def outcome(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as exc:
        return "%s: %s" % (type(exc).__name__, exc)
    return "published"


add, only = stubs.shop_tasks_add, stubs.only
print(json.dumps({
    "add()": outcome(add.delay),
    "add(1)": outcome(add.delay, 1),
    "add(1, 2)": outcome(add.delay, 1, 2),
    "add(1, 2, 3)": outcome(add.delay, 1, 2, 3),
    "add(1, 2, 3, 4)": outcome(add.delay, 1, 2, 3, 4),
    "add(1, 2, q=3)": outcome(add.delay, 1, 2, q=3),
    "only(b='1')": outcome(only.delay, b="1"),
    "only(a='1')": outcome(only.delay, a="1"),
    "in Python": outcome(add, 1, 2),
    "names": " ".join(sorted(name for name in app.tasks if not name.startswith("celery."))),
    "queue": stubs.price.queue,
}))
