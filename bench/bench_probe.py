"""Sends a task every INTERVAL seconds, the first after OFFSET, and waits for each result; prints how long that took, in nanoseconds.

    bench_probe.py COUNT INTERVAL OFFSET

It prints null when it is warm, and begins when it is given a line.
"""

import json
import sys
import time

from bench_app import add

WARM_UP = 20


def call():
    add.delay(1, 2).get(timeout=60)


count, interval, offset = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
for _ in range(WARM_UP):
    call()
print("null", flush=True)
sys.stdin.readline()
start, waited = time.perf_counter() + offset, []
for i in range(count):
    due = start + i * interval
    ahead = due - time.perf_counter()
    if ahead > 0:
        time.sleep(ahead)
        due = time.perf_counter()
    call()
    # Held up by the one before, a call counts from when it was due: else each long wait would hide those of the calls not made meanwhile.
    waited.append(int((time.perf_counter() - due) * 1e9))
print(json.dumps(waited))
