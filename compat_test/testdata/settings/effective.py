"""Prints what an app makes of its settings: effective.py APP [TASK...]."""
import json
import os
import pathlib
import sys

sys.path[:0] = [os.getcwd(), str(pathlib.Path(__file__).resolve().parents[3] / "scripts")]
from capture_settings import plain, route  # noqa: E402
from celery.app.utils import find_app  # noqa: E402
from kombu.transport.base import to_rabbitmq_queue_arguments  # noqa: E402

NAMES = """broker_url result_backend task_acks_late task_reject_on_worker_lost task_time_limit task_soft_time_limit result_expires
worker_prefetch_multiplier worker_concurrency task_default_rate_limit timezone task_ignore_result
task_store_errors_even_if_ignored task_track_started task_default_queue accept_content worker_disable_rate_limits
task_serializer result_serializer""".split()



def declared(q):
    """What RabbitMQ is told of a queue."""
    limits = {name: getattr(q, name) for name in ("expires", "message_ttl", "max_length", "max_length_bytes", "max_priority")}
    return [
        bool(q.durable), bool(q.exclusive), bool(q.auto_delete), bool(q.no_declare),
        to_rabbitmq_queue_arguments(q.queue_arguments or {}, **limits), q.binding_arguments or {}, q.consumer_arguments or {},
        bool(q.exchange.durable), bool(q.exchange.auto_delete), bool(q.exchange.no_declare), q.exchange.arguments or {},
    ]


app = find_app(sys.argv[1])
app.finalize()
options = app.conf.broker_transport_options
attributes = ("rate_limit", "acks_late", "time_limit", "max_retries")
print(json.dumps({
    "settings": {name: plain(getattr(app.conf, name)) for name in NAMES},
    "visibility_timeout": options.get("visibility_timeout"),
    "queues": sorted([q.name, q.exchange.name, q.exchange.type, q.routing_key, q.alias or ""] for q in app.amqp.queues.values()
                     if type(q).__name__ != "Broadcast"),
    "declared": {q.name: declared(q) for q in app.amqp.queues.values() if type(q).__name__ != "Broadcast"},
    "routes": {task: route(app, task, {"ignore_result": True}) for task in sys.argv[2:]},
    "annotated": {task: {a: getattr(app.tasks[task], a) for a in attributes} for task in sys.argv[2:] if task in app.tasks},
}))
