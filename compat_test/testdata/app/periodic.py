"""An app with a periodic task for every option that a message can have."""
import os
from datetime import timedelta

from celery import Celery
from kombu import Exchange, Queue

app = Celery("periodic", broker=os.environ["BROKER"])
app.conf.update(
    task_queues=[Queue("celery"), Queue("bound", Exchange("ex"), routing_key="a.b"), Queue("transient", delivery_mode=1)],
    task_routes={"routed.*": {"queue": "byroute", "priority": 6}},
    task_send_sent_event=True,
    timezone="Europe/Berlin",
    beat_max_loop_interval=1,
)


@app.task(name="known.plain")
def plain(*args, **kwargs):
    pass


@app.task(name="known.options", queue="own", priority=4, ignore_result=True, time_limit=30, serializer="yaml", expires=77)
def options(a):
    pass


def every(task, **entry):
    return dict({"task": task, "schedule": timedelta(seconds=1)}, **entry)


app.conf.beat_schedule = {
    "nothing": every("un.nothing"),
    "tuple": every("un.tuple", args=(1, "ü", None, 2.0), kwargs={"b": [1], "a": {"x": True}}),
    "list": every("un.list", args=[1, 2], schedule=1.0),
    "known": every("known.plain", args=(1,)),
    "known.options": every("known.options", args=(1,)),
    "known.overridden": every("known.options", kwargs={"a": 2}, options={"queue": "other", "priority": 1, "serializer": "json", "expires": 5}),
    "builtin": every("celery.backend_cleanup"),
    "route": every("routed.task"),
    "route.overridden": every("routed.task", kwargs={"o": 1}, options={"queue": "other"}),
    "queue": every("un.queue", options={"queue": "q"}),
    "transient": every("un.transient", options={"queue": "transient"}),
    "routing_key": every("un.routing_key", options={"routing_key": "rk"}),
    "exchange": every("un.exchange", options={"exchange": "ex", "routing_key": "a.b"}),
    "priority": every("un.priority", options={"priority": 9}),
    "expires": every("un.expires", options={"expires": 30}),
    "expires.fraction": every("un.expires.fraction", options={"expires": 2.5}),
    "countdown": every("un.countdown", options={"countdown": 60}),
    "countdown.expires": every("un.countdown.expires", options={"countdown": 60, "expires": 90}),
    "headers": every("un.headers", options={"headers": {"x": 1, "deep": {"y": [2]}}}),
    "yaml": every("un.yaml", args=(1,), options={"serializer": "yaml"}),
    "pickle": every("un.pickle", args=(1,), options={"serializer": "pickle"}),
    "compression": every("un.compression", args=("x" * 200,), options={"compression": "zlib"}),
    "link": every("un.link", options={"link": plain.s(5), "link_error": [plain.si(6), plain.s(7).set(queue="q")]}),
    "time_limit": every("un.time_limit", options={"time_limit": 10, "soft_time_limit": 5}),
    "shadow": every("un.shadow", options={"shadow": "another name"}),
    "ignore_result": every("un.ignore_result", options={"ignore_result": True}),
    "retry": every("un.retry", options={"retry": False, "retry_policy": {"max_retries": 1}}),
    "reprs": every("un.reprs", options={"argsrepr": "(...)", "kwargsrepr": "{...}"}),
    "delivery_mode": every("un.delivery_mode", options={"delivery_mode": 1}),
    "property": every("un.property", options={"app_id": "me"}),
}
