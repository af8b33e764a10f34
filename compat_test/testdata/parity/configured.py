"""Makes the Celery apps of the parity tests from the environment that the tests set."""
import json
import os

import redis
from celery import Celery

journal_client = None


def celery_app(name="shop", **kwargs):
    app = Celery(name, broker=os.environ.get("BROKER"), backend=os.environ.get("BACKEND"), **kwargs)
    app.conf.update(broker_connection_retry_on_startup=True)
    app.conf.update(json.loads(os.environ.get("SETTINGS", "{}")))
    return app


def notebook():
    """The Redis for the journal: a connection is nothing to share after a fork."""
    global journal_client
    pid = os.getpid()
    if journal_client is None or journal_client[0] != pid:
        journal_client = pid, redis.Redis.from_url(os.environ["JOURNAL"])
    return journal_client[1]


def journal(what, task_id=None, **facts):
    """Leaves a line in the journal: what has happened, to which task, and in what process."""
    notebook().rpush("journal", json.dumps(dict(facts, what=what, task_id=task_id, pid=os.getpid()), default=repr))


def first_time(task_id):
    """Tells whether a task runs for the first time, whatever its message says."""
    return notebook().incr("runs of %s" % task_id) == 1
