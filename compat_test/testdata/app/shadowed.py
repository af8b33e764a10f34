"""Tasks that testdata/worker has, too, to be compared with them. What each changes is in the journal's list "changed"."""
import json
import os

import redis
from celery import Celery, current_task

PATIENCE = 120

if os.environ.get("KEYS"):
    import signed  # before the app, which is the current one then

app = Celery("shadowed", broker=os.environ.get("BROKER"), backend=os.environ.get("BACKEND"))
app.conf.task_default_queue = "shadowed"
app.conf.update(json.loads(os.environ.get("SETTINGS", "{}")))
if os.environ.get("KEYS"):
    app.conf.update({key: signed.app.conf[key] for key in (
        "security_key", "security_certificate", "security_cert_store", "task_serializer", "event_serializer", "accept_content", "result_accept_content")})
    app.setup_security()


def change(what):
    redis.Redis.from_url(os.environ["JOURNAL"]).rpush("changed", what)


@app.task
def price(item, n=1):
    """Another price than in Go, if the item is tea."""
    change("python " + item)
    return {"item": item, "total": 2.5 * n, "of": [1, {"each": 4.0}]}


@app.task
def fail(kind):
    """In Go it is another exception, if the kind is other."""
    raise ValueError(kind)


@app.task(bind=True, max_retries=1)
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return "retried"


@app.task
def send():
    """Has another task run, tells how far it is, and changes something."""
    current_task.update_state(state="PROGRESS")
    price.delay("sent")
    change("python sends")
    return "sent"


@app.task
def odd():
    """Returns what JSON has no form for; nobody wants it."""
    return object()


@app.task
def quiet(x):
    """Nobody stores what it returns."""
    return x


quiet.ignore_result = odd.ignore_result = True
