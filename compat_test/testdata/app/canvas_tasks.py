"""The tasks that the canvases of canvas_test.go are made of. testdata/worker/canvas.go
has their Go twins.

A tag "<producer>|<case>|<place>" says which task of which case this is. How often each
was run is counted in the journal's hash runs.
"""
import functools
import json
import os

import redis
from celery import chain, chord, group
from celery.canvas import xmap, xstarmap

from tapp import app


@functools.lru_cache(maxsize=1)
def journal():
    return redis.Redis.from_url(os.environ["JOURNAL"])


def place(tag):
    return tag and tag.rsplit("|", 1)[-1]


def run(tag):
    journal().hincrby("runs", tag or "", 1)
    return place(tag)


@app.task(name="canvas.echo")
def echo(*args, tag=None):
    return [run(tag), *args]


@app.task(name="canvas.late", acks_late=True)
def late(*args, tag=None):
    return [run(tag), *args]


@app.task(name="canvas.ignored", ignore_result=True)
def ignored(*args, tag=None):
    return [run(tag), *args]


@app.task(name="canvas.fail")
def fail(*args, tag=None):
    raise ValueError(run(tag))


@app.task(bind=True, name="canvas.flaky")
def flaky(self, *args, tag=None):
    """Succeeds at its second attempt."""
    if self.request.retries < 1:
        raise self.retry(exc=KeyError("again"), countdown=0)
    return [run(tag), *args]


@app.task(bind=True, name="canvas.exhaust", max_retries=1)
def exhaust(self, *args, tag=None):
    """Fails at its second attempt."""
    raise self.retry(exc=KeyError(run(tag)), countdown=0)


@app.task(bind=True, name="canvas.giveup", max_retries=1)
def giveup(self, *args, tag=None, word=None):
    """Is retried for no reason."""
    run(tag)
    raise self.retry(countdown=0)


@app.task(bind=True, name="canvas.replaced")
def replaced(self, *args, tag=None, by="task"):
    run(tag)
    first = echo.s(*args, tag=tag + ".1")
    second, third = echo.s(tag=tag + ".2"), echo.s(tag=tag + ".3")
    raise self.replace({
        "task": lambda: first,
        "fail": lambda: fail.s(tag=tag + ".1"),
        "chain": lambda: chain(first, second),
        "group": lambda: group(first, second),
        "chord": lambda: chord([first, second], third),
        "chain of group": lambda: chain(first, group(second, third)),
        "map": lambda: xmap(first, [1, 2], app=app),
        "starmap": lambda: xstarmap(first, [[1, 2], [3, 4]], app=app),
    }[by]())


@app.task(bind=True, name="canvas.more")
def more(self, *args, tag=None):
    """Adds a task to the chord that it is a member of."""
    self.add_to_chord(echo.s(tag=tag + ".1"))
    return [run(tag), *args]


@app.task(name="canvas.spawn")
def spawn(*args, tag=None):
    """Publishes tasks of its own."""
    echo.delay(tag=tag + ".1")
    group(echo.s(tag=tag + ".2"), echo.s(tag=tag + ".3")).apply_async()
    chain(echo.s(tag=tag + ".4"), echo.s(tag=tag + ".5")).apply_async()
    return [run(tag), *args]


@app.task(bind=True, name="canvas.stamps")
def stamps(self, *args, tag=None):
    seen = self.request.stamps or {}
    return [run(tag), sorted(self.request.stamped_headers or []), {k: seen[k] for k in sorted(seen)}]


@app.task(name="canvas.old_errback")
def old_errback(failed, *, tag=None):
    return [run(tag), failed]


@app.task(name="canvas.bad_errback")
def bad_errback(failed, *, tag=None):
    raise ValueError(run(tag))


@app.task(name="canvas.alone")
def alone(*, tag=None):
    return [run(tag)]


@app.task(name="canvas.new_errback")
def new_errback(request, exc, traceback, *, tag=None):
    run(tag)
    journal().rpush("errbacks", json.dumps([tag, request.id, repr(exc), bool(traceback)]))
