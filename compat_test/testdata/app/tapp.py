"""The tasks of the compatibility tests. testdata/worker has their Go twins.

Runs on Celery 4.4, 5.2 and 5.7. BROKER and BACKEND name the Redis; SETTINGS is
a JSON object of further settings.
"""
import importlib
import json
import os
import time

import redis
from celery import Celery, current_task
from celery.utils.log import get_task_logger
from kombu import Exchange, Queue

import shoperrors

if "DJANGO_SETTINGS_MODULE" in os.environ:  # results are in Django's database
    import django

    django.setup()

PATIENCE = 120  # how long to wait for what must happen; it costs nothing where it does

app = Celery("tapp", broker=os.environ.get("BROKER"), backend=os.environ.get("BACKEND"))
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=True)
app.conf.update(json.loads(os.environ.get("SETTINGS", "{}")))
if os.environ.get("QUORUM"):  # a queue of RabbitMQ's, beside the usual one
    app.conf.task_queues = [
        Queue("celery"), Queue(os.environ["QUORUM"], Exchange(os.environ["QUORUM"]), os.environ["QUORUM"], queue_arguments={"x-queue-type": "quorum"}),
    ]


@app.task
def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


@app.task
def same(x):
    return x


@app.task
def add(x, y, z=0):
    return x + y + z


@app.task
def greet(name, greeting="hi", *, mark="!"):
    return "%s %s%s" % (greeting, name, mark)


@app.task
def named(a, *, b, c=None):
    return [a, b, c]


@app.task
def says(text):
    get_task_logger(__name__).warning(text)


@app.task
def nothing():
    return None


@app.task
def fail(*args):
    raise ValueError(*args)


@app.task
def throw(module, name, text, *args):
    raise getattr(importlib.import_module(module), name)(text, *args)


@app.task
def throw_hidden(text):
    """Raises a class that no client can import."""
    raise type("Hidden", (Exception,), {"__module__": "nowhere.errors"})(text)


@app.task(ignore_result=True)
def ignored(x):
    return x


@app.task(ignore_result=True)
def ignored_fail(x):
    raise ValueError(x)


@app.task
def whoami():
    """What a task may know of its own execution."""
    r = current_task.request
    return {
        "id": r.id, "root_id": r.root_id, "parent_id": r.parent_id, "group": r.group,
        "retries": r.retries, "eta": r.eta, "expires": r.expires,
        "name": current_task.name,
    }


# Typed: the Go twins take and return Go types.
for kind in ("int", "float", "str", "bool", "bytes", "time", "list", "map", "bigint", "pointer", "uuid", "decimal"):
    exec("@app.task(name='tapp.typed_%s')\ndef typed_%s(x):\n    return x\n" % (kind, kind))


def _journal():
    return redis.Redis.from_url(os.environ["JOURNAL"])


def _note(journal, list, key):
    """In a list, or, if this process was given a name, in the stream of all notes, with that."""
    who = os.environ.get("WHO")
    if who:
        journal.xadd("notes", {list: "%s %s/%d" % (key, who, os.getpid())})
    else:
        journal.rpush(list, key)


def _run(key, seconds):
    journal = _journal()
    _note(journal, "started", key)
    time.sleep(seconds)
    _note(journal, "done", key)
    return key


@app.task
def work(key, seconds):
    """Leaves its key in the journal's lists started and done."""
    return _run(key, seconds)


@app.task(acks_late=True)
def work_late(key, seconds):
    return _run(key, seconds)


@app.task(acks_late=True)
def wait_late(key):
    """Is done when the journal's list go has something for it."""
    journal = _journal()
    journal.rpush("started", key)
    while not journal.blpop("go", timeout=1):
        pass
    journal.rpush("done", key)


@app.task(bind=True, max_retries=1)
def again(self):
    """Is done when it is tried again."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(acks_late=True)
def work_due(key, due):
    """Notes in the list "too soon", too, that it runs before it is due, by the journal's clock."""
    seconds, micro = _journal().time()
    if seconds + micro / 1e6 < due:
        _note(_journal(), "too soon", key)
    return _run(key, 0)


def _attempt(task, key):
    """Each attempt has a key of its own. Tells whether it was the last one."""
    attempt = task.request.retries + 1
    _run("%s.%d" % (key, attempt), 0)
    return attempt == 3


@app.task(bind=True, acks_late=True)
def work_again(self, key, options):
    """Is retried twice."""
    if not _attempt(self, key):
        raise self.retry(**options)


@app.task(bind=True, acks_late=True, autoretry_for=(KeyError,), default_retry_delay=0.1)
def work_auto(self, key):
    """Is retried twice, because it fails."""
    if not _attempt(self, key):
        raise KeyError(key)


@app.task(bind=True, acks_late=True)
def work_slot(self):
    """Has its id for a key."""
    return _run("slot-" + self.request.id, 0)


@app.task
def nap(seconds):
    """Sleeps, and can be stopped."""
    time.sleep(seconds)
    return seconds


@app.task(acks_late=True)
def nap_late(seconds):
    time.sleep(seconds)
    return seconds


@app.task(acks_late=True)
def stamp(key):
    """Leaves its key and the time in the journal's list stamps."""
    _journal().rpush("stamps", "%s %.6f" % (key, time.time()))


@app.task(rate_limit="4/s")
def limited(key):
    _journal().rpush("stamps", "%s %.6f" % (key, time.time()))


@app.task
def python_only(key):
    """Has no Go twin."""
    _journal().rpush("done", key)
    return key


Importable = shoperrors.OutOfStock
