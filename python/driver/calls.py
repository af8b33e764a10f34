"""What a child does that is no task of its own: it calls one, as Celery's celery.map and error callbacks do, or
reads a message for the worker."""
import json

from apium_driver import outcome


def call(app, head, body):
    """Returns the answer and the result's JSON."""
    from kombu.utils.json import dumps
    try:
        task = app.tasks[head["call"]]
        args, kwargs = json.loads(body.decode("utf-8", "surrogatepass"))
        if "failed" in head:
            args[:3] = failure(app, head["failed"])
        result = task(*args, **kwargs)
        if "failed" in head:
            return {"state": "SUCCESS"}, b"null"  # nobody asks for it
        return {"state": "SUCCESS"}, dumps(result).encode("utf-8", "surrogatepass")
    except BaseException as exc:
        return outcome.gave_up(exc), None


def read(requests, head, body):
    """Returns the answer and what the body says."""
    try:
        return {"state": "SUCCESS"}, requests.told(head, body)
    except BaseException as exc:
        return outcome.gave_up(exc), None


def failure(app, failed):
    """The first three arguments of an error callback: request, exception and traceback."""
    from celery.app.task import Context
    request = Context({"id": failed["id"], "task": failed["task"]})
    exc = app.backend.exception_to_python(
        {"exc_type": failed["type"], "exc_module": failed["module"], "exc_message": failed["message"]}
    ) if failed.get("type") else None
    return [request, exc, failed["traceback"]]


def is_errback(task):
    """Tells whether Celery calls an error callback with request, exception and traceback."""
    from functools import partial
    from celery.utils.functional import arity_greater
    header = getattr(task, "__header__", None)
    return header is not None and not isinstance(header, partial) and bool(arity_greater(header, 1))
