"""Sends one task after the other and waits for each result; prints how long that took, in nanoseconds, in ascending order.

    bench_probe.py COUNT
"""

import json
import sys
import time

from bench_app import add

WARM_UP = 20

waited = []
for i in range(WARM_UP + int(sys.argv[1])):
    began = time.perf_counter_ns()
    add.delay(i, 2).get(timeout=60)
    if i >= WARM_UP:
        waited.append(time.perf_counter_ns() - began)
    time.sleep(0.005)
print(json.dumps(sorted(waited)))
