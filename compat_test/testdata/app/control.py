"""Remote control through Celery's own app.control. Prints one JSON document.

    control.py replies NODE... <  a JSON list of [method, arguments]
    control.py effects NODE QUEUE CHECK...
    control.py tasks NODE QUEUE
"""
import json
import sys
import time

import tapp
from tapp import app


def broadcast(method, nodes, **arguments):
    replies = app.control.broadcast(method, arguments=arguments, destination=nodes, reply=True, timeout=tapp.PATIENCE)
    return {node: reply for r in replies for node, reply in r.items()}


def replies(*nodes):
    """What each node replies to each request."""
    return [broadcast(method, list(nodes), **arguments) for method, arguments in json.load(sys.stdin)]


def wait(condition, within=tapp.PATIENCE):
    deadline = time.time() + within
    while not condition():
        if time.time() > deadline:
            return False
        time.sleep(0.05)
    return True


class Effects:
    """What commands do, by what can be seen from outside."""

    def __init__(self, node, queue):
        self.node, self.queue = node, queue

    def call(self, method, **arguments):
        return broadcast(method, [self.node], **arguments)[self.node]

    def send(self, task, *args, **options):
        return task.apply_async(args, queue=self.queue, **options)

    def active(self):
        return len(self.call("active"))

    def outcome(self, result):
        wait(result.ready)
        if result.state != "SUCCESS":
            return [result.state, type(result.result).__name__, str(result.result)]
        return [result.state, result.result]

    def check_revoke_before(self):
        self.call("revoke", task_id="revoked-before")
        state = app.AsyncResult("revoked-before").state
        r = self.send(tapp.nap, 0, task_id="revoked-before")
        wait(lambda: self.call("query_task", ids=[r.id]) == {})
        return [state, self.outcome(r)]

    def check_revoke_reserved_and_running(self):
        running = [self.send(tapp.nap, 10) for _ in range(2)]
        wait(lambda: self.active() == 2)
        reserved = self.send(tapp.nap, 0)
        wait(lambda: len(self.call("reserved")) == 1)
        later = self.send(tapp.nap, 0, countdown=10)
        wait(lambda: len(self.call("scheduled")) == 1)
        reply = self.call("revoke", task_id=[running[0].id])["ok"] == "tasks {%r} flagged as revoked" % running[0].id
        self.call("revoke", task_id=[reserved.id, later.id])
        states = [reserved.state, later.state]
        outcomes = [self.outcome(r) for r in running + [reserved, later]]
        wait(lambda: self.call("scheduled") == [])
        return [reply, states, outcomes, [r._get_task_meta()["children"] for r in (reserved, later)]]

    def check_terminate(self):
        running = [self.send(tapp.nap, 30), self.send(tapp.nap_late, 30)]
        wait(lambda: self.active() == 2)
        reserved = self.send(tapp.nap, 0)
        wait(lambda: len(self.call("reserved")) == 1)
        reply = self.call("revoke", task_id=[reserved.id], terminate=True)["ok"] == "terminate: " + reserved.id
        for r, signal in zip(running, ("SIGTERM", "SIGKILL")):
            self.call("revoke", task_id=r.id, terminate=True, signal=signal)
        gone = wait(lambda: self.active() == 0)
        after = self.send(tapp.nap, 0)
        return [reply, gone, [self.outcome(r) for r in running + [reserved, after]]]

    def check_terminate_later(self):
        """An id that is terminated before its time is just revoked."""
        r = self.send(tapp.nap, 0, countdown=8)
        wait(lambda: len(self.call("scheduled")) == 1)
        reply = self.call("terminate", task_id=r.id, signal="TERM")["ok"] == "terminate: " + r.id
        wait(lambda: self.call("scheduled") == [])
        return [reply, self.outcome(r)]

    def check_revoke_by_stamps(self):
        def stamped(value, seconds):
            sig = tapp.nap.si(seconds).set(queue=self.queue)
            sig.stamp(mystamp=value)
            return sig.apply_async()

        running = stamped(["a", "b"], 30)
        other = stamped("c", 8)
        wait(lambda: self.active() == 2)
        reply = self.call("revoke_by_stamped_headers", headers={"mystamp": ["b", "z"]}, terminate=True)
        return [reply, [self.outcome(r) for r in (running, other, stamped("b", 0), stamped(["x", "z"], 0), stamped("c", 0))]]

    def check_rate_limit(self):
        self.call("rate_limit", task_name="tapp.nap", rate_limit="1/m")
        limited = [self.send(tapp.nap, 0) for _ in range(3)]
        wait(limited[0].ready)
        time.sleep(1)
        ready = [r.ready() for r in limited]
        shown = [t for t in self.call("registered", taskinfoitems=["rate_limit"]) if t.startswith("tapp.nap ")]
        other = self.outcome(self.send(tapp.add, 1, 2))
        self.call("revoke", task_id=[r.id for r in limited[1:]])
        self.call("rate_limit", task_name="tapp.nap", rate_limit=None)
        return [ready, shown, other, self.outcome(self.send(tapp.nap, 0))]

    def check_time_limit(self):
        self.call("time_limit", task_name="tapp.nap", soft=1)
        soft = self.outcome(self.send(tapp.nap, 30))
        self.call("time_limit", task_name="tapp.nap", hard=1)
        hard = self.outcome(self.send(tapp.nap, 30))
        shown = [t for t in self.call("registered", taskinfoitems=["time_limit", "soft_time_limit"]) if t.startswith("tapp.nap ")]
        self.call("time_limit", task_name="tapp.nap")
        return [soft, hard, shown, self.outcome(self.send(tapp.nap, 1.5))]

    def check_queues(self):
        name = self.queue + "-more"
        self.call("add_consumer", queue=name)
        added = self.outcome(tapp.add.apply_async((1, 2), queue=name))
        self.call("cancel_consumer", queue=name)
        wait(lambda: name not in [q["name"] for q in self.call("active_queues")])
        time.sleep(2.5)  # a BRPOP that names it lasts for a second
        left = tapp.add.apply_async((1, 2), queue=name)
        time.sleep(1)
        state = left.state
        self.call("add_consumer", queue=name)
        return [added, state, self.outcome(left)]

    def check_pool(self):
        self.call("pool_grow", n=2)
        grown = self.call("stats")["prefetch_count"]
        results = [self.send(tapp.nap, 1) for _ in range(5)]
        outcomes = [self.outcome(r) for r in results]
        self.call("pool_shrink", n=2)
        # Python lowers its prefetch count some time later, and under load not within 20 s.
        return [grown, outcomes]

    def check_concurrency(self):
        self.call("pool_grow", n=2)
        results = [self.send(tapp.nap, 6) for _ in range(5)]
        grown = wait(lambda: self.active() == 4)
        [self.outcome(r) for r in results]
        self.call("pool_shrink", n=2)
        results = [self.send(tapp.nap, 6) for _ in range(3)]
        shrunk = wait(lambda: self.active() == 2 and len(self.call("reserved")) == 1)
        return [grown, shrunk, [self.outcome(r) for r in results]]

    def check_totals(self):
        before = self.call("stats")["total"].get("shadowy", 0)
        self.outcome(self.send(tapp.add, 1, 1, shadow="shadowy"))
        return self.call("stats")["total"]["shadowy"] - before


def effects(node, queue, *checks):
    e = Effects(node, queue)
    return {name: getattr(e, "check_" + name)() for name in checks}


def tasks(node, queue):
    """Has two tasks run, one wait for a slot and two for their ETA, and names them."""
    e = Effects(node, queue)
    for i, options in enumerate(({}, {"priority": 3}, {}, {"countdown": 300, "shadow": "shadowy"}, {"countdown": 3600})):
        task = tapp.nap_late if i == 1 else tapp.nap
        wait(lambda: e.active() == min(i, 2))
        task.apply_async((600,), queue=queue, task_id="%s-%d" % (queue, i), **options)
    return wait(lambda: e.active() == 2 and len(e.call("reserved")) == 1 and len(e.call("scheduled")) == 2)


if __name__ == "__main__":
    print(json.dumps({"replies": replies, "effects": effects, "tasks": tasks}[sys.argv[1]](*sys.argv[2:])))
