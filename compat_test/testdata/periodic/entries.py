"""Prints what Celery's beat makes of the entries of an app: entries.py LAST."""
import json
import sys
from datetime import datetime

from celery.beat import ScheduleEntry
from kombu.utils.json import dumps
from periodic import app

app.finalize()
last = datetime.fromisoformat(sys.argv[1]).astimezone(app.timezone)
found = {}
for name, entry in app.conf.beat_schedule.items():
    try:
        entry = ScheduleEntry(**dict(entry, name=name, app=app))
        entry.schedule.nowfun = lambda: last
        found[name] = {
            "task": entry.task, "schedule": repr(entry.schedule), "args": dumps(entry.args), "kwargs": dumps(entry.kwargs),
            "remaining": entry.schedule.remaining_estimate(last).total_seconds(),
        }
    except (TypeError, ValueError, AttributeError):
        pass
json.dump(found, sys.stdout)
