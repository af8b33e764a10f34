"""Tasks that run in batches, by celery-batches. testdata/optional has their Go twins."""
from celery_batches import Batches

from tapp import _journal, app


def _double(requests):
    _journal().rpush("batches", " ".join(str(r.args[0]) for r in requests))
    for r in requests:
        app.backend.mark_as_done(r.id, 2 * r.args[0], request=r)


double = app.task(base=Batches, name="batched.double", flush_every=3, flush_interval=3600)(_double)
soon = app.task(base=Batches, name="batched.soon", flush_every=100, flush_interval=0.2)(_double)
slowly = app.task(base=Batches, name="batched.slowly", flush_every=100, flush_interval=3600)(_double)


def send(name, n):
    return [app.tasks[name].delay(i).id for i in range(n)]


def results(ids):
    """What the app reads, and what the backend has, but for what differs each time."""
    def stored(id):
        meta = app.backend.get_task_meta(id)
        del meta["task_id"], meta["date_done"]
        return meta

    return [[app.AsyncResult(id).get(timeout=120), stored(id)] for id in ids]
