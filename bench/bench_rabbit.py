"""The Celery app that is measured on RabbitMQ. Run as a program, it publishes one message."""

import os

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_RABBIT"], backend=os.environ["BENCH_RESULTS"])
app.conf.task_default_queue_type = os.environ["BENCH_QUEUE"]


@app.task(name="bench.add")
def add(x, y):
    return x + y


if __name__ == "__main__":
    add.delay(1, 2)
