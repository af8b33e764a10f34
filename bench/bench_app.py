"""The Celery app the benchmark measures. Run as a program, it publishes one message of each task."""

import os
import time

from celery import Celery

url = f"redis://{os.environ['BENCH_REDIS']}/0"
app = Celery("bench", broker=url, backend=url)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.now")
def now():
    return time.time_ns()


@app.task(name="bench.text")
def text(size):
    return "x" * size


@app.task(name="bench.echo")
def echo(text):
    return text


@app.task(name="bench.join")
def join(parts):
    return len(parts)


if __name__ == "__main__":
    add.delay(1, 2)
    now.delay()
