"""An app whose beat has a clock of its own, see movedclock.py."""
import os
from datetime import timedelta

import movedclock  # noqa: F401
from celery import Celery
from celery.schedules import crontab, solar

app = Celery("moved", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.timezone = os.environ.get("ZONE", "UTC")


def entry(name, schedule, **given):
    options = dict({"expires": 100000}, **given.pop("options", {}))  # which tells when it was sent
    return {name: dict({"task": name, "schedule": schedule, "options": options}, **given)}


app.conf.beat_schedule = {
    **entry("minute", crontab()),
    **entry("five", crontab(minute="*/5"), args=(1, "ü", None), kwargs={"b": [2.0], "a": {"x": True}}),
    **entry("half", crontab(minute="*/30"), options={"queue": "q", "priority": 6}),
    **entry("hour", crontab(minute=7), options={"headers": {"x": {"y": [2]}}}),
    **entry("third", crontab(minute=0, hour="*/3"), options={"countdown": 60}),
    **entry("night", crontab(minute="*/20", hour="1-3")),
    **entry("two", crontab(minute=30, hour=2), options={"time_limit": 10, "shadow": "another name"}),
    **entry("midnight", crontab(minute=0, hour=0)),
    **entry("last", crontab(minute=59, hour=23)),
    **entry("sunday", crontab(minute=15, hour=0, day_of_week="sun")),
    **entry("first", crontab(minute=0, hour=1, day_of_month=1)),
    **entry("leap", crontab(minute=10, hour=2, day_of_month=29, month_of_year=2)),
    **entry("june", crontab(month_of_year=6)),
    **entry("often", 90),
    **entry("uneven", timedelta(seconds=600, microseconds=250000)),
    **entry("quarter", timedelta(minutes=15), options={"ignore_result": True}),
    **entry("hourly", timedelta(hours=1), relative=True),
    **entry("daily", timedelta(days=1), relative=True),
    **entry("sunset", solar("sunset", 52.5, 13.4)),
}
if "ONLY" in os.environ:
    app.conf.beat_schedule = {name: app.conf.beat_schedule[name] for name in os.environ["ONLY"].split(",")}
for name in os.environ.get("WITHOUT", "").split(","):
    app.conf.beat_schedule.pop(name, None)
