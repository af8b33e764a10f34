"""Chords whose last part ends the process that it runs in on its way to the body, once: the body's key says when."""
import json
import os
import signal
import sys
import time

import redis
from celery import Celery, chord
from celery.signals import after_task_publish, before_task_publish

app = Celery("chordkills", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(json.loads(os.environ.get("SETTINGS", "{}")))
journal = redis.Redis.from_url(os.environ["JOURNAL"])


def reached(moment, key):
    """Is called on the way to a body. Tells whether it is the first time for this one, and it says so."""
    return key.split()[0] == moment and journal.incr("reached " + key) == 1


def die_at(moment, key):
    if reached(moment, key):
        os.kill(os.getpid(), signal.SIGKILL)


@before_task_publish.connect(sender="chordkills.body")
def publishing(body=None, **_):
    die_at("publishing", body[1]["key"])
    if reached("held", body[1]["key"]):
        time.sleep(3600)  # it is killed with its worker
    if reached("lapsing", body[1]["key"]):
        while any(app.backend.client.get(claim) not in (None, b"done") for claim in app.backend.client.keys("*.c")):
            time.sleep(0.1)


@after_task_publish.connect(sender="chordkills.body")
def published(body=None, **_):
    die_at("published", body[1]["key"])


count = app.backend.on_chord_part_return


def on_chord_part_return(request, *args, **kwargs):
    if journal.incr("parts " + request.group) == 2:
        die_at("counting", request.chord["kwargs"]["key"])
    return count(request, *args, **kwargs)


app.backend.on_chord_part_return = on_chord_part_return


@app.task(acks_late=True, reject_on_worker_lost=True)
def late(x):
    return x


@app.task(acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def ignored(x):
    return x


@app.task
def early(x):
    return x


@app.task(acks_late=True, reject_on_worker_lost=True)
def failing(x):
    raise KeyError(x)


@app.task
def body(results, key):
    journal.rpush("bodies", key)
    return results


if __name__ == "__main__":
    if sys.argv[1] == "send":
        queue = (sys.argv[4:] or ["celery"])[0]  # of the bodies
        print(json.dumps({
            moment + " " + part: chord([app.tasks["chordkills." + part].s(n) for n in range(2)])(body.s(key=moment + " " + part).set(queue=queue)).id
            for moment in sys.argv[2].split() for part in sys.argv[3].split()
        }))
    else:
        print(json.dumps({key: app.AsyncResult(i).get(timeout=120, propagate=False) for key, i in json.loads(sys.argv[2]).items()}, default=repr))
