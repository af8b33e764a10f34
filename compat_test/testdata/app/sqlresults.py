"""Tasks that end in every way, for results in SQL databases. As a script, sends each of them with its name as id."""
import json
import os
import signal
import sys
import time

if os.environ.get("DATABASE"):
    os.environ["DJANGO_SETTINGS_MODULE"] = "sqlresults_settings"

from celery import Celery, exceptions, states

app = Celery("sqlresults", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(worker_enable_remote_control=False, **json.loads(os.environ["SETTINGS"]))


class OutOfStock(Exception):
    pass


@app.task
def add(x, y=0):
    return x + y


@app.task
def nested():
    return {"a": [1, 2.5, None, True, float("inf")], "é\0": "😀"}


@app.task(bind=True)
def parent(self):
    add.apply_async((1,), {"y": 2}, task_id=self.request.id + "-child")
    return None


@app.task
def fail():
    try:
        raise KeyError("pen")
    except KeyError as exc:
        raise OutOfStock("bad", "é", {"n": 1}) from exc


@app.task(bind=True)
def again(self):
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(bind=True, max_retries=0)
def gives_up(self):
    raise self.retry(exc=ValueError("no more"), countdown=0)


@app.task(bind=True, max_retries=1)
def waits(self):
    raise self.retry(exc=ValueError("later"), countdown=3600)


@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 1, "of": "é"})
    raise exceptions.Ignore()


@app.task(ignore_result=True)
def ignored():
    return 1


@app.task(bind=True)
def noted(self):
    self.request.meta = {"note": "é", "n": [1]}
    return "noted"


@app.task(track_started=True)
def tracked():
    return "tracked"


@app.task(soft_time_limit=0.3)
def soft():
    while True:
        time.sleep(0.01)


@app.task(time_limit=0.3)
def hard():
    time.sleep(60)


@app.task
def lost():
    os.kill(os.getpid(), signal.SIGKILL)


CALLS = {
    "add": add.s(1, y=2), "nested": nested.s(), "parent": parent.s(), "fail": fail.s(), "again": again.s(), "gives_up": gives_up.s(),
    "waits": waits.s(), "progress": progress.s(), "ignored": ignored.s(), "noted": noted.s(), "tracked": tracked.s(), "soft": soft.s(),
    "hard": hard.s(), "lost": lost.s(),
    "linked": add.s(3).set(link=add.s(10).set(task_id="linked-next")),
    "expired": add.s(1).set(expires=-5),
    "periodic": add.s(4).set(headers={"periodic_task_name": "nightly", "meta": {"from": "header"}}),
    "stamped": add.s(5).set(stamped_headers=["who"], who=["me"]),
}
CALLS.pop(os.environ.get("WITHOUT"), None)
WITHOUT = ("ignored",)
UNREADY = {"waits": states.RETRY, "progress": "PROGRESS"}


def ends():
    ids = [name for name in CALLS if name not in WITHOUT] + ["parent-child", "linked-next"]
    outcomes = {}
    deadline = time.time() + 100
    for name in ids:
        result = app.AsyncResult(name)
        while result.state != UNREADY.get(name) and result.state not in states.READY_STATES and time.time() < deadline:
            time.sleep(0.1)
        outcomes[name] = [result.state, repr(result.result), str(result.children)]
    return outcomes


if __name__ == "__main__":
    if os.environ.get("DATABASE"):
        import django
        django.setup()
    if sys.argv[1] == "send":
        for name, call in CALLS.items():
            call.apply_async(task_id=name)
        add.apply_async((6,), task_id="end")
    print(json.dumps(ends()))
