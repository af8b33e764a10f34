"""An app with every kind of entry in beat_schedule."""
from datetime import datetime, timedelta, timezone

from celery import Celery
from celery.schedules import crontab, schedule, solar
from kombu import Queue

app = Celery("periodic", broker="redis://localhost:6379/3")
app.conf.timezone = "Europe/Berlin"
app.conf.update(redbeat_redis_url="redis://redbeat/9", redbeat_lock_key=None, redbeat_redis_options={"socket_timeout": 3})


class Own(schedule):
    """A schedule of somebody's own."""


def clock():
    return app.now()


@app.task(name="periodic.add")
def add(*args, **kwargs):
    return args


app.conf.beat_schedule = {
    "number": {"task": "periodic.add", "schedule": 30, "args": (1, 2.0)},
    "fraction": {"task": "periodic.add", "schedule": 0.5, "kwargs": {"ü": None, "n": 2 ** 80}},
    "timedelta": {"task": "periodic.add", "schedule": timedelta(hours=2, milliseconds=250)},
    "relative": {"task": "periodic.add", "schedule": timedelta(days=1), "relative": True},
    "schedule": {"task": "periodic.add", "schedule": schedule(timedelta(minutes=90), relative=True)},
    "crontab": {"task": "periodic.add", "schedule": crontab(minute="*/5", hour=[9, 8], day_of_week="mon-fri")},
    "numbers": {"task": "periodic.add", "schedule": crontab(0, 4, day_of_month=1)},
    "range": {"task": "periodic.add", "schedule": crontab(minute=[3, 10, 17, 24], month_of_year="1-6")},
    "solar": {"task": "periodic.add", "schedule": solar("sunset", 52.52, 13)},
    "options": {"task": "periodic.add", "schedule": 10, "options": {
        "queue": Queue("q"), "expires": timedelta(minutes=2), "eta": datetime(2027, 1, 1, tzinfo=timezone.utc), "priority": 3,
        "headers": {"x": [1]}, "link": add.s(1),
    }},
    "own": {"task": "periodic.add", "schedule": Own(timedelta(seconds=3))},
    "clock": {"task": "periodic.add", "schedule": crontab(nowfun=clock)},
    "text": {"task": "periodic.add", "schedule": "*/5 * * * *"},
    "options list": {"task": "periodic.add", "schedule": 3, "options": ["queue"]},
    "nan": {"task": "periodic.add", "schedule": 3, "args": [float("nan")]},
    "object": {"task": "periodic.add", "schedule": 3, "kwargs": {"x": object()}},
}
try:
    from celery.beat import BeatLazyFunc
    app.conf.beat_schedule["lazy"] = {"task": "periodic.add", "schedule": 3, "args": (BeatLazyFunc(clock),)}
except ImportError:  # Celery 4.4
    pass

app.add_periodic_task(10.0, add.s(1, b=2), name="added", expires=10)
