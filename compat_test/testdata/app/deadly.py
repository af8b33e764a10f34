"""A task that ends the process it runs in, and one that does not."""
import json
import os
import signal

import redis
from celery import Celery

app = Celery("deadly", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(json.loads(os.environ.get("SETTINGS", "{}")))


@app.task(acks_late=True, reject_on_worker_lost=True)
def die(key):
    redis.Redis.from_url(os.environ["JOURNAL"]).rpush("started", key)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True, reject_on_worker_lost=True)
def work(key):
    redis.Redis.from_url(os.environ["JOURNAL"]).rpush("done", key)
