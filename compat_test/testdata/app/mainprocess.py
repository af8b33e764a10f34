"""An app that hangs all kinds of things in Celery's MainProcess, and notes in a journal what is called.

    python mainprocess.py      calls its tasks and commands one after the other
"""
import json
import os
import sys
import time

from celery import Celery, Task, bootsteps, signals
from celery.exceptions import Reject
from celery.worker.control import control_command, inspect_command

app = Celery("mainprocess", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])


def note(what, sender=None, **details):
    from billiard import current_process
    where = "main" if current_process()._name == "MainProcess" else "child"
    kind = sender if isinstance(sender, str) else type(sender).__name__ if sender is not None else None
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(json.dumps([where, what, kind, details], sort_keys=True) + "\n")


def plain(value):
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value).__name__


def listen(name, **more):
    def receiver(sender=None, signal=None, **kwargs):
        details = {key: plain(value) for key, value in kwargs.items()}
        for key, look in more.items():
            details[key] = look(sender, kwargs)
        note(name, sender, **details)
    if hasattr(signals, name):  # this version has it
        getattr(signals, name).connect(receiver, weak=False)


listen("celeryd_init", options=lambda sender, kwargs: sorted(set(kwargs["options"]) & {"concurrency", "loglevel"}))
listen("worker_init")
listen("celeryd_after_setup")
listen("worker_ready", hostname=lambda consumer, _: [consumer.hostname, consumer.app.main, type(consumer.controller).__name__])
listen("worker_shutting_down")
listen("worker_shutdown", hostname=lambda worker, _: worker.hostname)
listen("task_received", seen=lambda _, kwargs: [kwargs["request"].name, list(kwargs["request"].args), kwargs["request"].delivery_info["routing_key"]])
listen("task_revoked", seen=lambda task, kwargs: [task.name, kwargs["request"].task, repr(kwargs["signum"])])
listen("task_unknown", id=lambda _, kwargs: bool(kwargs["id"]), message=lambda _, kwargs: kwargs["message"].headers["task"])
listen("task_rejected", message=lambda _, kwargs: kwargs["message"].headers.get("mark"))
listen("task_failure", traceback=lambda _, kwargs: type(kwargs["traceback"]).__name__, task_id=lambda _, kwargs: bool(kwargs["task_id"]), exception=lambda _, kwargs: repr(kwargs["exception"]).split(" Job:")[0].rstrip("',.)"))
listen("heartbeat_sent")
listen("worker_before_create_process")


class Step(bootsteps.StartStopStep):
    requires = {"celery.worker.components:Timer"}
    beaten = False

    def __init__(self, worker, **kwargs):
        note("step made", self)

    def start(self, worker):
        note("step start", self, worker=type(worker).__name__, hostname=worker.hostname)
        worker.timer.call_repeatedly(0.05, self.beat, (worker,))

    def beat(self, worker):
        if not self.beaten:
            self.beaten = True
            note("step beats", worker)

    def close(self, worker):
        note("step close", self)

    def stop(self, worker):
        note("step stop", self)

    def terminate(self, worker):
        note("step terminate", self)


class Late(bootsteps.StartStopStep):
    requires = {"celery.worker.components:Pool", Step}  # Step: else Celery starts them in any order

    def start(self, worker):
        note("late start", self)

    def stop(self, worker):
        note("late stop", self)


class Inner(bootsteps.StartStopStep):
    requires = {"celery.worker.consumer:Tasks"}

    def start(self, consumer):
        note("inner start", consumer)

    def stop(self, consumer):
        note("inner stop", consumer)

    def shutdown(self, consumer):
        note("inner shutdown", consumer)


app.steps["worker"].add(Step)
app.steps["worker"].add(Late)
app.steps["consumer"].add(Inner)


@inspect_command(args=[("word", str)], signature="[word]")
def look(state, word="nothing"):
    return {"word": word, "app": state.app.main, "node": state.hostname, "worker": type(state.consumer.controller).__name__, "x": 1.5}


@control_command(args=[("x", int)], signature="<x>")
def turn(state, x=0):
    note("turned", x=x)
    return {"ok": "turned by %d" % x}


@control_command()
def wrong(state, **kwargs):
    raise ValueError("no such luck")


@inspect_command()
def clock(state, **kwargs):
    return {"clock": "mine"}


class Told(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", self, exception=type(exc).__name__, args=plain(args))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("after_return", self, status=status, retval=type(retval).__name__, args=plain(args))


@app.task
def add(x, y):
    return x + y


@app.task(base=Told, time_limit=0.3)
def hard(x):
    time.sleep(60)


@app.task(base=Told)
def die(x):
    os._exit(3)


@app.task
def refuse(x):
    raise Reject("no more", requeue=False)


def outcome(result):
    try:
        return result.get(timeout=60)
    except Exception as exc:
        return type(exc).__name__


def settle():
    """Waits until nothing has been noted for a moment: some of it is told a little later."""
    size, since = -1, time.time()
    while time.time() - since < 0.3:
        now = os.path.getsize(os.environ["JOURNAL"])
        if now != size:
            size, since = now, time.time()
        time.sleep(0.02)


def one_by_one(calls):
    for call in calls:
        yield call()
        settle()


def ask(name, **arguments):
    return sorted(value for reply in app.control.broadcast(name, arguments=arguments, reply=True, timeout=10, limit=1) for value in map(json.dumps, reply.values()))


def reject():
    with app.connection() as connection:
        connection.Producer().publish({"no": "task"}, routing_key="celery", headers={"mark": "x"})


def main():
    settle()
    sys.stdout.write(json.dumps(list(one_by_one([
        lambda: outcome(add.delay(1, 2)),
        lambda: outcome(add.apply_async((1, 2), expires=-1)),
        lambda: outcome(app.send_task("nobody")),
        reject,
        lambda: outcome(hard.delay(1)),
        lambda: outcome(die.delay(2)),
        lambda: bool(refuse.delay(4)),
        lambda: ask("look", word="hello"),
        lambda: ask("turn", x=3),
        lambda: ask("wrong"),
        lambda: ask("clock"),
    ]))))


if __name__ == "__main__":
    main()
