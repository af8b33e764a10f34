"""Publishes the canvases the benchmark measures.

    bench_canvas.py publish KIND COUNT SIZE    prints the ids of their last results
    bench_canvas.py get KIND COUNT SIZE        waits for them, too, and prints how long all of it took, in seconds
"""

import os
import sys
import time

from bench_app import add, app, echo, join, text
from celery import chain, chord

KINDS = {
    "chain": lambda size: chain([add.si(0, 0)] + [add.s(1) for _ in range(size - 1)]),
    "chord": lambda size: chord([add.s(i, i) for i in range(size)], join.s()),
    "large chord": lambda size: chord([text.s(600_000) for _ in range(size)], join.s()),
    "large task": lambda size: echo.s("x" * size),
}

if __name__ == "__main__":
    what, kind, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    app.connection_for_write().ensure_connection()
    began = time.perf_counter()
    results = [KINDS[kind](size).delay() for _ in range(count)]
    if what == "get":
        for result in results:
            result.get(timeout=600)
        print(time.perf_counter() - began)
    else:
        for result in results:
            print(result.id)
    sys.stdout.flush()
    os._exit(0)  # results that are never read complain when Python ends
