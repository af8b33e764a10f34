"""The Celery app the benchmark measures."""

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


@app.task(name="bench.nap")
def nap():
    began = time.time_ns()
    time.sleep(0.05)
    return began


@app.task(name="bench.host", bind=True)
def host(self):
    return self.request.hostname


@app.task(name="bench.text")
def text(size):
    return "x" * size


@app.task(name="bench.echo")
def echo(text):
    return text


@app.task(name="bench.join")
def join(parts):
    return len(parts)
