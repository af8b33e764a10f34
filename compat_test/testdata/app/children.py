"""Tasks of all kinds of ends, for a worker that runs them in child processes, and a script that calls them.

    python children.py      prints what became of each, as JSON
"""
import json
import os
import sys
import time

import billiard.pool
from celery import Celery, chain, chord

app = Celery("children", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])


def says_when_it_ends(loop):
    """Wraps billiard's loop as Sentry does, to send what is left."""
    def wrapped(*args, **kwargs):
        try:
            return loop(*args, **kwargs)
        finally:
            print("the loop ends", flush=True)
    return wrapped


loaded = set()  # the modules that the fork server has, as it forks
os.register_at_fork(before=lambda: loaded.update(sys.modules))
billiard.pool.Worker.workloop = says_when_it_ends(billiard.pool.Worker.workloop)


@app.task
def imported():
    return sorted(set(sys.modules) - loaded) if loaded else []


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail():
    raise ValueError("no")


@app.task(bind=True, max_retries=2)
def again(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.01)
    return self.request.retries


@app.task
def die():
    os._exit(3)


@app.task(soft_time_limit=0.5)
def soft():
    try:
        time.sleep(60)
    except Exception as exc:
        return type(exc).__name__


@app.task(time_limit=0.5)
def hard():
    time.sleep(60)


@app.task
def process():
    from billiard import current_process
    print("printed in a task")
    return current_process().daemon


def outcome(result):
    try:
        return result.get(timeout=60)
    except Exception as exc:
        return type(exc).__name__ + ": " + str(exc)


def main():
    sys.stdout.write(json.dumps({
        "imported": outcome(imported.delay()),
        "add": outcome(add.delay(1, 2)),
        "fail": outcome(fail.delay()),
        "again": outcome(again.delay()),
        "die": outcome(die.delay()),
        "soft": outcome(soft.delay()),
        "hard": outcome(hard.delay()),
        "process": outcome(process.delay()),
        "chain": outcome(chain(add.s(1, 2), add.s(3)).delay()),
        "chord": outcome(chord([add.s(i, i) for i in range(5)])(total.s())),
        "starmap": outcome(add.starmap([(1, 2), (3, 4)]).delay()),
    }))


if __name__ == "__main__":
    main()
