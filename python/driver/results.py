"""Stores records that the Go worker has made in the app's own result backend."""
import json
import sys

from apium_driver import outcome


def store(app, body):
    """Stores a list of records. Returns the answer; its message names those that can never be stored."""
    from kombu.exceptions import EncodeError
    refused = []
    try:
        close_old_connections()
        for given in json.loads(body.decode("utf-8", "surrogatepass")):
            try:
                store_one(app.backend, **given)
            except (EncodeError, TypeError, ValueError) as exc:
                refused.append([given["record"]["task_id"], "%s: %s" % (type(exc).__name__, exc)])
        return {"state": "SUCCESS", "message": refused}
    except Exception as exc:
        return outcome.gave_up(exc)


def store_one(backend, record, reply_to, correlation_id):
    from celery.app.task import Context
    result, state = record["result"], record["status"]
    if state in backend.EXCEPTION_STATES and isinstance(result, dict) and "exc_type" in result:
        result = backend.exception_to_python(result)
    request = Context({
        "id": record["task_id"], "task": record.get("name"), "args": record.get("args"), "kwargs": record.get("kwargs"),
        "hostname": record.get("worker"), "retries": record.get("retries"), "delivery_info": {"routing_key": record.get("queue")},
        "parent_id": record.get("parent_id"), "group": record.get("group_id"),
        "reply_to": reply_to, "correlation_id": correlation_id,
    })
    backend.store_result(record["task_id"], result, state, traceback=record.get("traceback"), request=request)


def close_old_connections():
    """Django's connections to its databases go stale: this process may not have used them for hours."""
    if "django.db" in sys.modules:
        sys.modules["django.db"].close_old_connections()
