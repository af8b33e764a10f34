"""Counts parts of chords in Celery's own backend, as told line by line.

Each line of the input is a JSON array, a command and its arguments; each is
answered by one line of JSON.
"""
import json
import sys

from celery.app.task import Context
from celery.result import AsyncResult, GroupResult
from celery.states import EXCEPTION_STATES

import tapp

backend = tapp.app.backend
body = dict(tapp.same.s().set(task_id="body", queue="bodies"))


def size(group, n):
    backend.set_chord_size(group, n)


def grow(group):
    backend.add_to_chord(group, None)


def part(group, index, task_id, state, result):
    if state in EXCEPTION_STATES:
        result = ValueError(*result)
    request = Context(id=task_id, group=group, group_index=index, chord=dict(body), root_id="root", parent_id=None)
    backend.on_chord_part_return(request, state, result)


def save(group, ids):
    GroupResult(group, [AsyncResult(i, app=tapp.app) for i in ids], app=tapp.app).save(backend=backend)


def restore(group):
    result = GroupResult.restore(group, backend=backend, app=tapp.app)
    return [r.id for r in result.results] if result is not None else None


def store(task_id, state, result):
    if state in EXCEPTION_STATES:
        result = ValueError(result)
    backend.store_result(task_id, result, state)
    return json.loads(backend.get(backend.get_key_for_task(task_id)))["status"]


commands = {f.__name__: f for f in (size, grow, part, save, restore, store)}
for line in sys.stdin:
    name, *args = json.loads(line)
    print(json.dumps(commands[name](*args)), flush=True)
