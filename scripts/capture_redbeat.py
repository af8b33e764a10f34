#!/usr/bin/env python3
"""Writes beat/redbeat/testdata/rrule.json: rules as RedBeat stores them, and when they are due.

Usage: .venv/bin/python scripts/capture_redbeat.py > beat/redbeat/testdata/rrule.json

Each rule is written by RedBeat's encoder and read back by its decoder, as its scheduler does; "cases"
are pairs of UTC seconds: a last run, and the next time after it, or null.
"""
import json
import random
import signal
import warnings
from datetime import datetime, timedelta, timezone

from celery import Celery
from dateutil.rrule import weekday
from redbeat.decoder import RedBeatJSONDecoder, RedBeatJSONEncoder
from redbeat.schedules import rrule

warnings.simplefilter("ignore")
app = Celery("capture", set_as_current=True)
app.conf.timezone = "UTC"
rng = random.Random(7)

PERIODS = {  # about one period of a frequency, in seconds
    0: 366 * 86400, 1: 31 * 86400, 2: 7 * 86400, 3: 86400, 4: 3600, 5: 60, 6: 1,
}


def some(low, high, most=3, zero=True):
    values = [v for v in rng.sample(range(low, high + 1), rng.randint(1, most)) if zero or v != 0]
    if not values:
        return None
    return values[0] if len(values) == 1 and rng.random() < 0.5 else values


def rule():
    freq = rng.randrange(7)
    zone = timezone(timedelta(minutes=rng.choice([0, 0, 60, -300, 330])))
    start = datetime(rng.randint(2019, 2027), rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23),
                     rng.randint(0, 59), rng.randint(0, 59), rng.randrange(10**6), tzinfo=zone)
    args = {"freq": freq, "dtstart": start, "interval": rng.choice([1, 1, 2, 3, 5, 10, 90])}
    chance = lambda p: rng.random() < p  # noqa: E731
    if chance(0.2):
        args["count"] = rng.randint(1, 30)
    elif chance(0.2):
        args["until"] = start + timedelta(seconds=PERIODS[freq] * rng.randint(1, 40))
    if chance(0.2):
        args["wkst"] = rng.randrange(7)
    if chance(0.25):
        args["bymonth"] = some(1, 12)
    if chance(0.25):
        args["bymonthday"] = some(-31, 31, zero=False)
    elif chance(0.1):
        args["byyearday"] = some(-366, 366, zero=False)
    elif chance(0.05) and freq == 0:
        args["byweekno"] = some(1, 53)
    elif chance(0.05) and freq == 0:
        args["byeaster"] = some(-50, 50)
    if chance(0.3):
        if chance(0.3):
            args["byweekday"] = [weekday(d) for d in rng.sample(range(7), 2)]
        else:
            args["byweekday"] = some(0, 6)
    if chance(0.2):
        args["byhour"] = some(0, 23)
    if chance(0.2):
        args["byminute"] = some(0, 59)
    if chance(0.2):
        args["bysecond"] = some(0, 59)
    if freq <= 2 and chance(0.15) and any(k in args for k in ("byweekday", "bymonthday", "bymonth")):
        args["bysetpos"] = rng.choice([1, -1, 2, [1, -1]])
    return {k: v for k, v in args.items() if v is not None}


def cases(stored, args):
    start = args["dtstart"]
    result = []
    for _ in range(6):
        last = start + timedelta(seconds=rng.choice([-1, 0, 1, 1, 1]) * rng.randint(0, PERIODS[args["freq"]] * 200))
        last = last.astimezone(timezone.utc).replace(microsecond=0)
        found = json.loads(stored, cls=RedBeatJSONDecoder).rrule.after(last)
        if found and found.year > last.year + 40:
            continue
        result.append([int(last.timestamp()), int(found.timestamp()) if found else None])
    return result


rows = []
signal.signal(signal.SIGALRM, signal.default_int_handler)
while len(rows) < 400:
    args = rule()
    signal.alarm(1)  # dateutil looks for a time that never comes until the year 9999
    try:
        stored = json.dumps(rrule(app=app, **args), cls=RedBeatJSONEncoder)
        rows.append({"schedule": json.loads(stored), "cases": cases(stored, args)})
    except (ValueError, KeyboardInterrupt):
        continue
    finally:
        signal.alarm(0)
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
