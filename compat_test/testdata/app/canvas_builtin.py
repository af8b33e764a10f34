"""Sends Celery's built-in tasks as messages: those that nobody sends any more, and
celery.chord_unlock, which producers send whose result backend cannot count chords.

CASES: a name, and what sends it, given the prefix of tags. It returns a result.
"""
from celery import chain, group
from celery.utils import uuid

import canvas_tasks as t
from tapp import app


def echo(prefix, place, *args, task=t.echo):
    return task.s(*args, tag="%s|%s" % (prefix, place))


def send(name, *args, **kwargs):
    return lambda prefix: app.send_task(name, args, kwargs)


def frozen_group(prefix, *tasks):
    members = group([echo(prefix, chr(97 + n), n, task=task) for n, task in enumerate(tasks)])
    return members, members.freeze()


def group_task(prefix):
    members, result = frozen_group(prefix, t.echo, t.echo)
    app.send_task("celery.group", kwargs={
        "tasks": members.tasks, "result": result.as_tuple(), "group_id": result.id, "partial_args": ["partial"],
    })
    return result


def chord_task(prefix):
    body = echo(prefix, "body").set(task_id=uuid())
    app.send_task("celery.chord", kwargs={"header": [echo(prefix, "a"), echo(prefix, "b")], "body": body})
    return app.AsyncResult(body.id)


def map_task(name, task, it):
    return lambda prefix: app.send_task(name, kwargs={"task": dict(echo(prefix, "map", task=task)), "it": it})


def unknown_map(prefix):
    return app.send_task("celery.map", kwargs={"task": {"task": "canvas.unknown", "args": [], "kwargs": {}, "options": {}}, "it": [1]})


def chunks_task(prefix):
    return app.send_task("celery.chunks", kwargs={"task": dict(echo(prefix, "part")), "it": [[1], [2], [3]], "n": 2})


def unlock(*tasks, make_body=None, first=False, **options):
    def unlock(prefix):
        members, result = frozen_group(prefix, *tasks)
        body = make_body(prefix) if make_body else echo(prefix, "body", "own")
        body_result = body.freeze()

        def poll():
            t.app.tasks["celery.chord_unlock"].apply_async(
                (result.id, body), dict(options, result=[r.as_tuple() for r in result]),
            )

        if first:
            poll()
        members.apply_async()
        if not first:
            poll()
        return body_result
    return unlock


def errbacks(prefix):
    body = echo(prefix, "body")
    body.link_error(echo(prefix, "old", task=t.old_errback))
    body.link_error(echo(prefix, "new", task=t.new_errback))
    return body


CASES = {
    "accumulate": send("celery.accumulate", 1, 2, 3),
    "accumulate index": send("celery.accumulate", 1, 2, 3, index=1),
    "accumulate beyond": send("celery.accumulate", 1, index=7),
    "chain": send("celery.chain", 1),
    "group": group_task,
    "chord": chord_task,
    "chunks": chunks_task,
    "map": map_task("celery.map", t.echo, [1, [2]]),
    "map that fails": map_task("celery.map", t.fail, [1]),
    "map of an unknown task": unknown_map,
    "starmap": map_task("celery.starmap", t.echo, [[1, 2], []]),
    "map that retries": map_task("celery.map", t.flaky, [1]),
    "unlock": unlock(t.echo, t.echo),
    "unlock that waits": unlock(t.echo, t.flaky, first=True, interval=0.2),
    "unlock failed": unlock(t.echo, t.fail, make_body=errbacks),
    "unlock chain": unlock(t.echo, t.echo, make_body=lambda p: chain(echo(p, "body"), echo(p, "next"))),
    "unlock group": unlock(t.echo, t.echo, make_body=lambda p: group(echo(p, "body"), echo(p, "beside"))),
    "unlock group failed": unlock(t.fail, make_body=lambda p: group(echo(p, "body"), echo(p, "beside"))),
    "unlock given up": unlock(t.ignored, make_body=errbacks, interval=0.1, max_retries=1),
}
