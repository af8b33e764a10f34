"""What differs between Celery's pools, for a worker with one of them, and a script that looks at it.

    python pools.py POOL      prints what it has found, as JSON
"""
import json
import os
import sys
import threading
import time

from celery import Celery, signals

app = Celery("pools", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
started = []
signals.worker_process_init.connect(lambda **_: started.append(os.getpid()), weak=False)


@app.task
def who():
    from billiard import current_process
    print("printed in a task")
    name = threading.current_thread().name
    return [current_process().name, current_process().daemon, name.rstrip("0123456789").rstrip("_-0123456789"), started == [os.getpid()]]


@app.task(time_limit=0.4, soft_time_limit=0.2)
def limited():
    time.sleep(0.8)


@app.task(bind=True)
def sleep(self, seconds):
    self.update_state(state="PROGRESS")
    time.sleep(seconds)
    return seconds


@app.task
def span(seconds):
    began = time.time()
    time.sleep(seconds)
    return [began, time.time()]


@app.task
def overlap(spans):
    spans.sort()
    return any(later[0] < earlier[1] for earlier, later in zip(spans, spans[1:]))


def outcome(result):
    try:
        return result.get(timeout=60)
    except Exception as exc:
        return type(exc).__name__ + ": " + str(exc)


def reply(replies):
    return [answer for node in replies for answer in node.values()]


def main(pool):
    from celery import chord
    found = {"who": outcome(who.delay()), "limited": outcome(limited.delay())}
    found["at the same time"] = outcome(chord((span.s(0.5) for _ in range(6)), overlap.s())())
    if pool != "solo":  # Celery's answers when it has done what it is at
        long = sleep.delay(2)
        while long.state != "PROGRESS":
            time.sleep(0.02)
        found["revoke"] = [text.replace(long.id, "ID") for answer in reply(
            app.control.revoke(long.id, terminate=True, reply=True, timeout=30, limit=1)) for text in answer.values()]
        found["terminated"] = outcome(long)
    for command in ("pool_grow", "pool_shrink"):
        found[command] = reply(app.control.broadcast(command, reply=True, timeout=30, limit=1))
    stats, = app.control.inspect(timeout=30, limit=1).stats().values()
    found["stats"] = {key: value for key, value in stats["pool"].items() if key != "processes"}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
