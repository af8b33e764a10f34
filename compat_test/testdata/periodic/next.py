"""Answers what Celery's is_due says of the rows on stdin, each [schedule, zone, last, now, deadline]."""
import json
import sys
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from celery import Celery
from celery.schedules import crontab, schedule, solar

app = Celery("next")


def made(row):
    kind, given = next(iter(row.items()))
    if kind == "crontab":
        return crontab.from_string(given)
    if kind == "solar":
        return solar(given["event"], given["lat"], given["lon"])
    return schedule(timedelta(seconds=given), relative=row.get("relative", False))


for line in sys.stdin:
    what, zone, last, now, deadline = json.loads(line)
    zone = ZoneInfo(zone)
    last, now = (datetime.fromisoformat(text).astimezone(zone) for text in (last, now))
    s = made(what)
    s.app, s.nowfun, s.__dict__["tz"] = app, lambda: now, zone
    app.conf.beat_cron_starting_deadline = deadline
    due, seconds = s.is_due(last)
    print(json.dumps([due, seconds, s.remaining_estimate(last).total_seconds()]))
