"""Tasks that write down when they start and end, for processes that are killed meanwhile.

    python tortured.py SECONDS      sends tasks of all kinds for so long, and prints how many of each

Those of the names tapp.work and tapp.work_late run in Go.
"""
import json
import os
import random
import subprocess
import sys
import time

import redis
from celery import Celery

app = Celery("tortured", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(task_reject_on_worker_lost=True)


def run(key, seconds):
    journal = redis.Redis.from_url(os.environ["JOURNAL"])
    journal.rpush("started", key)
    if random.random() < 0.02:
        subprocess.Popen(["sleep", "1"])  # it may outlive this process
    time.sleep(seconds)
    journal.rpush("done", key)


@app.task
def early(key, seconds):
    run(key, seconds)


@app.task(acks_late=True)
def late(key, seconds):
    run(key, seconds)


KINDS = {"early": "tortured.early", "late": "tortured.late", "go-early": "tapp.work", "go-late": "tapp.work_late"}


def main():
    sent, end = 0, time.time() + float(sys.argv[1])
    with app.producer_pool.acquire() as producer:
        while time.time() < end:
            for kind, task in KINDS.items():
                app.send_task(task, ["%s-%d" % (kind, sent), random.uniform(0, 0.04)], producer=producer)
            sent += 1
            time.sleep(0.03)
    print(json.dumps(sent))


if __name__ == "__main__":
    main()
