"""Runs scenarios on a worker, and tells all that they have left in comparable form.

    client.py MODULE TABLE

TABLE is a JSON file: {"scenarios": {name: Python source}, "one by one": bool}. The source has
the tasks, send() and what else is in Scenario.names(). When all have run it says "ran", and
waits on stdin for the name of the file with the worker's log. Then it prints
{scenario: {path: value}}; "" stands for what belongs to none.
"""
import collections
import datetime
import importlib
import json
import os
import sys
import threading
import time
import traceback

import redis

import observe
import shoptasks
from celery import Signature, chain, chord, chunks, group, signature, xmap, xstarmap
from celery.result import AsyncResult, GroupResult

PATIENCE = 120
one_at_a_time = threading.Lock()
broker = redis.Redis.from_url(os.environ["BACKEND"])
notes = redis.Redis.from_url(os.environ["JOURNAL"])


class Scenario(object):
    """What one scenario sends, and what it says itself."""

    def __init__(self, app, name):
        self.app, self.name = app, name
        self.roots = collections.OrderedDict()  # id: name of the task, if that is known
        self.groups = []
        self.says = {}

    def send(self, what, *args, **options):
        with one_at_a_time:  # the sender of events is not made for threads
            if isinstance(what, str):
                result = self.app.send_task(what, args, **options)
            elif isinstance(what, Signature):
                result = what.apply_async(**options)
            else:
                result = what.apply_async(args, **options)
        self.remember(result, getattr(what, "task", None) or getattr(what, "name", what))
        return result

    def remember(self, result, name=None):
        if isinstance(result, GroupResult):
            self.groups.append(result.id)
            for member in result.results:
                self.remember(member)
        else:
            self.roots.setdefault(result.id, str(name) if name else None)
        if getattr(result, "parent", None):
            self.remember(result.parent)

    def record(self, result):
        raw = broker.get("celery-task-meta-" + getattr(result, "id", result))
        return raw and json.loads(raw)

    def until(self, what, condition):
        end = time.time() + PATIENCE
        while True:
            value = condition()
            if value:
                return value
            if time.time() > end:
                raise RuntimeError("never: " + what)
            time.sleep(.03)

    def ready(self, result, states=("SUCCESS", "FAILURE", "REVOKED")):
        """Waits for a record."""
        return self.until("%s is ready" % result.id, lambda: (self.record(result) or {}).get("status") in states and self.record(result))

    def runs(self, result, times=1, what="sleeps"):
        """Waits until the task has said that it runs; returns its lines of the journal."""
        def lines():
            found = [e for e in map(json.loads, notes.lrange("journal", 0, -1)) if e["task_id"] == result.id and e["what"] == what]
            return found if len(found) >= times else None
        return self.until("%s runs" % result.id, lines)

    def say(self, what, value):
        self.says[what] = value

    def run(self, source):
        try:
            exec(compile(source, self.name, "exec"), self.names())
        except Exception:
            self.says["error"] = traceback.format_exc()

    def names(self):
        names = dict(vars(shoptasks), chain=chain, chord=chord, group=group, chunks=chunks, xmap=xmap, xstarmap=xstarmap,
                     signature=signature, AsyncResult=AsyncResult, app=self.app, broker=broker, notes=notes, time=time, os=os,
                     datetime=datetime, json=json, tasks=self.app.tasks)
        for name in "send remember record until ready runs say roots".split():
            names[name] = getattr(self, name)
        names["inspect"] = lambda **kw: self.app.control.inspect(destination=["w1@host"], timeout=PATIENCE, limit=1, **kw)
        names["broadcast"] = lambda command, **kw: self.app.control.broadcast(
            command, kw, destination=["w1@host"], reply=True, timeout=PATIENCE, limit=1)
        return names


def listen(app):
    """Hears all events from now on; the list grows."""
    heard, ready = [], threading.Event()

    def hear():
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": heard.append}, accept={"json"})
            receiver.on_consume_ready = lambda *args, **kwargs: ready.set()
            for _ in receiver.consume(limit=None, timeout=None):
                pass
    thread = threading.Thread(target=hear)
    thread.daemon = True
    thread.start()
    if not ready.wait(PATIENCE):
        raise RuntimeError("no events")
    return heard


def main(module, table):
    app = importlib.import_module(module).app
    app = getattr(app, "_get_current_object", lambda: app)()
    app.set_default()
    app.finalize()
    with open(table) as f:
        table = json.load(f)
    heard = listen(app)
    scenarios = [Scenario(app, name) for name in table["scenarios"]]
    threads = []
    for scenario in scenarios:
        thread = threading.Thread(target=scenario.run, args=(table["scenarios"][scenario.name],))
        thread.daemon = True
        thread.start()
        threads.append(thread)
        if table["one by one"]:
            thread.join()
    for thread in threads:
        thread.join()
    print("ran", flush=True)
    log = sys.stdin.readline().strip()
    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send("test-end")
    scenarios[0].until("the last event is heard", lambda: any(e["type"] == "test-end" for e in heard))
    print("OBSERVED " + json.dumps(observe.everything(app, scenarios, heard, broker, notes, log)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
