"""Publishes every case and prints what Celery put on the queue, as JSON lines' worth:
[{"name", "id", "key", "raw"}]. The Redis of BROKER must have no worker."""
import datetime
import json
import os
import sys
import warnings

import redis

import tapp
from cases import cases

warnings.simplefilter("ignore")
r = redis.Redis.from_url(os.environ["BROKER"])


def publish(task, args, kwargs, options):
    protocol = options.pop("protocol", 2)
    tapp.app.conf.task_protocol = protocol
    tapp.app.amqp.__dict__.pop("_create_task_sender", None)
    tapp.app.amqp.__dict__.pop("create_task_message", None)
    for cached in ("create_task_message", "send_task_message"):
        tapp.app.amqp.__dict__.pop(cached, None)
    known = tapp.app.tasks.get(task)
    if known is None:
        return tapp.app.send_task(task, args, kwargs, **options)
    known.typing = False
    return known.apply_async(args, kwargs, **options)


out = []
now = datetime.datetime.now(datetime.timezone.utc)
for name, task, args, kwargs, options in cases(now):
    result = publish(task, args, kwargs, options)
    for key in r.scan_iter(_type="list"):
        for raw in reversed(r.lrange(key, 0, -1)):
            out.append({"name": name, "id": result.id, "key": key.decode(), "raw": raw.decode()})
        r.delete(key)
json.dump(out, sys.stdout)
