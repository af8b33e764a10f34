#!/usr/bin/env python3
"""Captures when Celery starts rate-limited tasks: worker/testdata/ratelimits.json.

Celery's own consumer and kombu's token bucket run against a simulated clock. For each
case: the rate limit, when tasks arrive, changes of the limit, and when each task started,
in seconds.
"""
import heapq
import json
import os
import random

import kombu.utils.limits
from celery.utils.time import rate
from celery.worker.consumer import Consumer
from kombu.utils.limits import TokenBucket

OUT = os.path.join(os.path.dirname(__file__), "..", "worker", "testdata", "ratelimits.json")


class Timer:
    """A clock that jumps to the next thing to do."""

    def __init__(self):
        self.now = 0.0
        self.heap = []
        self.seq = 0

    def call_at(self, when, fun, args=()):
        self.seq += 1
        heapq.heappush(self.heap, (when, self.seq, fun, args))

    def call_after(self, secs, fun, args=(), priority=0):
        self.call_at(self.now + max(secs, 1e-6), fun, args)  # a real timer is never early

    def run(self):
        while self.heap:
            self.now, _, fun, args = heapq.heappop(self.heap)
            fun(*args)


def simulate(limit, arrivals):
    timer = Timer()
    kombu.utils.limits.monotonic = lambda: timer.now

    class Worker:
        _limit_order = 0
        _limit_task = Consumer._limit_task
        _schedule_bucket_request = Consumer._schedule_bucket_request

        def _limit_move_to_pool(self, request):
            starts[request] = timer.now

    worker = Worker()
    worker.timer = timer
    starts = {}
    bucket = TokenBucket(rate(limit), capacity=1)
    for n, when in enumerate(arrivals):
        timer.call_at(when, worker._limit_task, (n, bucket, 1))
    timer.run()
    return {"limit": limit, "arrivals": arrivals, "starts": [round(starts[n], 6) for n in range(len(arrivals))]}


def main():
    rng = random.Random(3)
    cases = [
        simulate("10/s", [0] * 12),
        simulate("4", [0] * 5),
        simulate("100/m", [0] * 7),
        simulate("5/h", [0] * 4),
        simulate("0.5/s", [0, 0, 10, 10, 10.5]),
        simulate("10/s", [0, 5, 5, 5, 60, 60.05]),
        simulate("2/s", [0, 0.1, 0.2, 3, 3.4, 3.5, 9]),
    ]
    for limit in ("7/s", "90/m", "3"):
        when, arrivals = 0.0, []
        for _ in range(40):
            when += rng.choice([0, 0, 0.05, 0.3, 1, 4])
            arrivals.append(round(when, 3))
        cases.append(simulate(limit, arrivals))
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
