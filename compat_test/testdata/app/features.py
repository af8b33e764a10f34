"""Tasks that do what their first argument, the plan, says. testdata/worker/features.go
has their Go twins; both make one task of each entry of testdata/worker/features.json.

A plan has a list of actions for each attempt; the last one is for all further attempts.
"""
import builtins
import datetime
import json
import os
import pathlib
import signal
import time

from celery import current_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

import shoperrors
from tapp import _journal, app

OPTIONS = json.loads((pathlib.Path(__file__).parent.parent / "worker" / "features.json").read_text())
CLASSES = ("autoretry_for", "dont_autoretry_for", "throws")


def exception(name, *args):
    return (getattr(builtins, name, None) or getattr(shoperrors, name))(*args)


def moment(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def with_plan(values, plan):
    return [plan if value == "$plan" else value for value in values]


def retry(task, plan, options):
    options = dict(options)
    if "exc" in options:
        options["exc"] = exception(*options["exc"])
    if "eta" in options:
        options["eta"] = moment(options["eta"])
    if "args" in options:
        options["args"] = with_plan(options["args"], plan)
    if "plan" in options.get("kwargs", {}):
        options["kwargs"] = dict(options["kwargs"], plan=plan)
    return task.retry(**options)


def block(until):
    """Goes on whatever happens, as a Go handler does that does not look at its context."""
    while (left := until - time.monotonic()) > 0:
        try:
            time.sleep(left)
        except SoftTimeLimitExceeded:
            pass


def act(task, plan):
    request = task.request
    attempt = request.retries + bool(request.delivery_info["redelivered"])
    _journal().rpush("ran", json.dumps([
        request.id, request.retries, bool(request.delivery_info["redelivered"]), time.time()]))
    for name, *args in plan[min(attempt, len(plan) - 1)]:
        if name == "return":
            return args[0]
        elif name == "raise":
            raise exception(*args)
        elif name == "retry":
            raise retry(task, plan, args[0])
        elif name == "ignore":
            raise Ignore()
        elif name == "reject":
            raise Reject(*args)
        elif name == "sleep":
            time.sleep(args[0])
        elif name == "catch":
            try:
                time.sleep(args[0])
            except SoftTimeLimitExceeded:
                _journal().rpush("caught", request.id)
        elif name == "block":
            block(time.monotonic() + args[0])
        elif name == "state":
            task.update_state(state=args[0], meta=args[1])
        elif name == "send":
            app.signature("features.plain", [[[["return", args[0]]]]]).apply_async(**args[1])
        elif name == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "unencodable":
            return object()
    return None


def define(name, options):
    options = dict(options)
    params = options.pop("params", "plan, *args, **kwargs")
    for key in CLASSES:
        if key in options:
            options[key] = tuple(getattr(builtins, c) for c in options[key])
    scope = {"act": act, "current_task": current_task}
    exec("def %s(%s):\n    return act(current_task._get_current_object(), plan)" % (name, params), scope)
    app.task(name="features." + name, **options)(scope[name])


for _name, _options in OPTIONS.items():
    define(_name, _options)
