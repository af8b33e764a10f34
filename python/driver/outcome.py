"""What has become of a job, as the Go worker is told."""
import dis
import json
import traceback


def succeeded(representation, runtime):
    return {"state": "SUCCESS", "repr": representation, "runtime": runtime}


def keep_returned(task, current):
    """Has what a task returns kept, from now on: who calls its tracer gets no more than the text of it."""
    trace = task.__trace__
    if trace is None or getattr(trace, "keeps", False):
        return

    def keeping(*args):
        traced = trace(*args)
        current.returned = traced[0]
        return traced

    keeping.keeps = True
    task.__trace__ = keeping


def returned(app, current):
    """What was kept, as results are in JSON; None: it has no such form."""
    from kombu.utils.json import dumps
    value, current.returned = current.returned, None
    try:
        return dumps(app.backend.prepare_value(value))
    except Exception:
        return None


def failed(app, request, info, runtime):
    from celery.exceptions import Ignore, Reject, Retry
    exc = bare(info.exception)
    answer = {"runtime": runtime, "traceback": text(info.traceback)}
    if isinstance(exc, Reject):
        answer.update(state="REJECTED", requeue=bool(exc.requeue))
        if not exc.requeue and rejecting_fails():
            reject(app, request, exc)
            answer.update(state="FAILURE", rejects=True, message=arguments(exc), **described(info.exception))
    elif isinstance(exc, Ignore):
        answer.update(state="IGNORED")
    elif isinstance(exc, Retry):
        answer.update(state="RETRY", exception=representation(exc.exc))
    else:
        answer.update(state="FAILURE", **described(info.exception))
    return answer


def described(exc):
    from celery.utils.serialization import get_pickled_exception
    exc = get_pickled_exception(bare(exc))
    return {"exception": representation(exc), "type": type(exc).__name__, "module": type(exc).__module__}


def bare(exc):
    """The exception in billiard's wrapper for tracebacks."""
    return exc.exc if type(exc).__name__ == "ExceptionWithTraceback" else exc


def rejecting_fails():
    """Tells whether this Celery fails a task that rejects its message: it does so in one place,
    and for a lost worker in another."""
    from celery.worker.request import Request
    return [i.argval for i in dis.get_instructions(Request.on_failure)].count("mark_as_failure") > 1


def reject(app, request, exc):
    """Stores what Celery's MainProcess does of a message that is rejected for good."""
    from celery.app.task import Context
    task = app.tasks[request["task"]]
    context = Context(request)
    ignored = context.ignore_result if getattr(context, "ignore_result", None) is not None else task.ignore_result
    task.backend.mark_as_failure(
        context.id, exc, request=context, store_result=not ignored or task.store_errors_even_if_ignored)


def says_that_it_exits():
    """Tells whether a process answers for a task that ends it (since billiard 4.3)."""
    from billiard import common
    return hasattr(common, "terminate_handler_fired")


def exits(exc):
    """The task ends its process: for the worker the process is lost."""
    from billiard.common import human_status
    if not isinstance(exc, SystemExit):
        return {"state": "EXITS", "status": type(exc).__name__}
    code = 0 if exc.code is None else exc.code if isinstance(exc.code, int) else 1
    return {"state": "EXITS", "status": human_status(code)}


def gave_up(exc):
    """The tracer itself has raised: the worker stores the failure, as Celery's MainProcess does."""
    return {
        "state": "RAISED", "exception": representation(exc), "type": type(exc).__name__, "module": type(exc).__module__,
        "message": arguments(exc), "traceback": traceback.format_exc(),
    }


def arguments(exc):
    """Those of an exception, where JSON has a form for them."""
    try:
        message = list(exc.args)
        json.dumps(message)
        return message
    except Exception:
        return [text(exc)]


def representation(value):
    from kombu.utils.encoding import safe_repr
    return safe_repr(value)


def text(value):
    from kombu.utils.encoding import safe_str
    return safe_str(value)
