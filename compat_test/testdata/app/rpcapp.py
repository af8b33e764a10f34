"""Tasks whose results are messages (rpc://), and scripts that print what comes of them.

rpcapp.py streams prints the records that arrive of each kind of task, rpcapp.py limits those around one that is too long. rpcapp.py
callers prints what those get who have sent tasks. They are processes of their own: Celery declares the queue for its records once, and it is deleted with its first
consumer, so that afterwards a record may come to nowhere.
"""
import json
import os
import re
import socket
import sys

import celery
import kombu
from celery import Celery, chain, chord, group

PATIENCE = 120

app = Celery("rpcapp", broker=os.environ["BROKER"], backend="rpc://")
app.conf.update(json.loads(os.environ["SETTINGS"]))


@app.task
def add(x, y):
    return x + y


@app.task
def fail(what):
    raise ValueError(what)


@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"n": 1})
    return "ok"


@app.task(bind=True, max_retries=2)
def again(self):
    if self.request.retries < 2:
        raise self.retry(exc=KeyError("k"), countdown=0)
    return self.request.retries


@app.task(bind=True, max_retries=1)
def exhaust(self):
    raise self.retry(exc=KeyError("k"), countdown=0)


@app.task(track_started=True)
def started():
    return 1


@app.task(bind=True)
def info(self):
    d = self.request.delivery_info
    return d["exchange"], d["routing_key"], d["priority"], self.request.correlation_id == self.request.id


@app.task(bind=True)
def parent(self):
    return add.delay(1, 1) and "sent"


@app.task
def told(task_id):
    return task_id


@app.task(ignore_result=True)
def ignored(x):
    return x


@app.task(acks_late=True)
def late(x):
    return x


@app.task
def big(n):
    return n * "x"


@app.task
def die():
    os._exit(3)


def plain(body):
    """A record without what differs from run to run."""
    record = json.loads(body)
    if record["status"] == "STARTED":
        record["result"] = sorted(record["result"])
    if isinstance(record["result"], dict) and record["result"].get("exc_type") == "WorkerLostError":
        record["result"]["exc_message"] = re.sub(r" Job: \d+", "", str(record["result"]["exc_message"]))
    if record["traceback"]:
        record["traceback"] = record["traceback"].strip().split("\n")[-1]
    record.pop("date_done", None)  # a worker's own records have it, whatever the app's version
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", json.dumps(record, sort_keys=True))


def ids(result):
    """The ids of all tasks of a canvas that have been sent, or will be."""
    if hasattr(result, "results"):
        for one in result.results:
            yield from ids(one)
    else:
        yield result.id
    if result.parent:
        yield from ids(result.parent)


class Streams:
    """What arrives in the queue for this process's records, and elsewhere, where Celery's own reader does not look."""

    def __init__(self):
        app.backend.result_consumer.consume_from = lambda task_id: None  # a group's result would take some, too
        self.conn = kombu.Connection(os.environ["BROKER"])
        self.channel = self.conn.channel()
        mine = app.backend.binding(self.channel)
        foreign = kombu.Queue("foreign", auto_delete=True)(self.channel)
        for queue in (mine, foreign):
            queue.declare()
        direct = kombu.Queue("amq.rabbitmq.reply-to", no_declare=True)
        self.consumer = kombu.Consumer(self.channel, [mine, foreign, direct], on_message=self.arrives, no_ack=True, auto_declare=False)
        self.arrived = []

    def arrives(self, message):
        record, properties, info = json.loads(message.body), dict(message.properties), message.delivery_info
        properties["correlation_id"] = properties["correlation_id"] == record["task_id"]
        key = info["routing_key"]
        where = "mine" if key == app.backend.oid else ".".join(key.split(".")[:3])
        self.arrived.append((record["task_id"], [sorted(properties.items()), info["exchange"], where, plain(message.body)]))

    def of(self, signature, n, **options):
        """The first n records of the signature's tasks. Those of one task are in the order in which they arrive."""
        return self.wait(list(ids(signature.apply_async(**options))), n)

    def wait(self, ids, n):
        while sum(of in ids for of, _ in self.arrived) < n:
            self.conn.drain_events(timeout=PATIENCE)
        return [[record for of, record in self.arrived if of == i] for i in ids]

    def first_of(self, signature):
        """The first record that comes of several tasks, sent one after the other: Celery's worker loses what it sends until
        it hears that its channel is closed."""
        sent = []
        while True:
            sent.append(signature.delay().id)
            try:
                self.conn.drain_events(timeout=5)
            except socket.timeout:
                continue
            records = [record for of, record in self.arrived if of in sent]
            if records:
                return [records[:1]]

    def raw(self, task_id, n, reply_to):
        """Sends a task without Celery's client, who always gives its own address."""
        message = app.amqp.as_task_v2(task_id, "rpcapp.add", (1, 2), {}, reply_to=reply_to)
        with kombu.Producer(self.channel) as producer:
            app.amqp.send_task_message(producer, "rpcapp.add", message, queue="celery")
        return self.wait([task_id], n)


def streams(python=None):
    """python: the tasks may do what only Python's can."""
    s = Streams()
    whole = celery.VERSION >= (5,)  # 4.4 stores nothing for the rest of a chain that has failed
    part = {"group_id": "group", "chord": add.s(7, 7).set(task_id="body")}
    with s.consumer:
        print(json.dumps({
            "add": s.of(add.s(1, 2), 1),
            "late": s.of(late.s(1), 1),
            "big": s.of(big.s(300000), 1),
            "fail": s.of(fail.s("x"), 1),
            "progress": s.of(progress.s(), 2),
            "again": [sorted(r) for r in s.of(again.s(), 3)],  # Celery's children publish a retry before they tell of it
            "exhaust": [sorted(r) for r in s.of(exhaust.s(), 2)],
            "started": s.of(started.s(), 2),
            "chain": s.of(chain(add.s(1, 2), add.s(3)), 2),
            "failed chain": s.of(chain(fail.s("c"), add.s(3), add.s(4)), 3 if whole else 1),
            "group": s.of(group(add.s(1, 1), fail.s("g"), add.s(2, 2)), 3),
            "group of chains": s.of(group(add.s(1, 1) | add.s(3), fail.s("g") | add.s(2)), 4 if whole else 3),
            "link": s.of(add.s(1, 2), 1, link=add.s(5)),
            "errback": s.of(fail.s("e"), 1, link_error=told.s()),
            "info": s.of(info.s(), 1),
            "parent": s.of(parent.s(), 1),
            "expired": s.of(add.s(1, 2), 1, expires=-1),
            "correlation": s.of(add.s(1, 2), 1, correlation_id="own"),
            "part of a chord": s.of(add.s(1, 2), 1, **part),
            "failed part of a chord": s.of(fail.s("p"), 1, **part),
            "body": s.wait(["body"], 0),
            "ignored": s.of(ignored.s(1) | add.s(2) | add.s(3), 2),
            "elsewhere": s.of(add.s(1, 2), 1, reply_to="foreign"),
            "direct reply": s.raw("direct", 1, "amq.rabbitmq.reply-to"),
            "nowhere": s.of(add.s(1, 2), 0, reply_to="gone"),
            "to nobody": s.raw("nobody", 0, None),
            "lost": python and s.of(die.s(), 1),
            "goes on": [s.of(add.s(1, i), 1) for i in range(4)],
        }))


def limits(n):
    """n: how many records come of a result that is too long for the broker."""
    s = Streams()
    with s.consumer:
        before = s.of(add.s(1, 2), 1)
        long = big.delay(300000).id
        arrived = s.wait([long], int(n))
        after = s.first_of(add.s(1, 3))
        print(json.dumps({"before": before, "long": arrived, "after": after, "still": s.of(add.s(1, 4), 1)}))


def states(result):
    """What a caller is told of a task until it is done."""
    told = []
    result.get(timeout=PATIENCE, on_message=lambda record: told.append([record["status"], record["result"]]))
    return told


def refused(call):
    try:
        call()
    except NotImplementedError as exc:
        return repr(exc)


def callers():
    print(json.dumps({
        "add": add.delay(1, 2).get(timeout=PATIENCE),
        "in turn": [r.get(timeout=PATIENCE) for r in [add.delay(i, i) for i in range(5)]],
        "chain": chain(add.s(1, 2), add.s(3))().get(timeout=PATIENCE),
        "group": group(add.s(i, i) for i in range(5))().get(timeout=PATIENCE),
        "group of chains": group(chain(add.s(i, i), add.s(1)) for i in range(5))().get(timeout=PATIENCE),
        "failures": [repr(r) for r in group(fail.s("a"), add.s(1, 1), fail.s("b"))().get(timeout=PATIENCE, propagate=False)],
        "states": states(progress.delay()),
        "chord": refused(lambda: chord([add.s(1, 1), add.s(2, 2)])(told.s())),
        "group in a chain": refused(lambda: chain(group(add.s(1, 1), add.s(2, 2)), told.s())()),
    }))


if __name__ == "__main__":
    {"streams": streams, "callers": callers, "limits": limits}[sys.argv[1]](*sys.argv[2:])
