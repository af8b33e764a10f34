"""The periodic tasks the benchmark measures: BENCH_ENTRIES of them, with intervals between 20 and 40 seconds.

BENCH_SCHEDULER says where they are: in beat_schedule; "django", in the tables of django-celery-beat; "redbeat", in RedBeat's keys.
Run as a program, it puts them there.
"""

import os

place = os.environ.get("BENCH_SCHEDULER", "")
if place == "django":
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_sql"
    import django

    django.setup()

from celery import Celery

app = Celery("bench", broker=f"redis://{os.environ['BENCH_REDIS']}/0")
count = int(os.environ["BENCH_ENTRIES"])
entries = {f"entry {i}": {"task": "bench.add", "schedule": 20 + 20 * i / count, "args": (i, 2)} for i in range(count)}
if not place:
    app.conf.beat_schedule = entries
app.conf.redbeat_redis_url = app.conf.broker_url


def fill_django():
    from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

    PeriodicTask.objects.all().delete()
    IntervalSchedule.objects.all().delete()
    schedules = IntervalSchedule.objects.bulk_create(
        IntervalSchedule(every=round(e["schedule"] * 1e6), period=IntervalSchedule.MICROSECONDS) for e in entries.values()
    )
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=name, task=e["task"], args=str(list(e["args"])), interval=s)
        for (name, e), s in zip(entries.items(), schedules)
    )
    PeriodicTasks.update_changed()


def fill_redbeat():
    from celery.schedules import schedule
    from redbeat import RedBeatSchedulerEntry

    for name, e in entries.items():
        RedBeatSchedulerEntry(name, e["task"], schedule(e["schedule"], app=app), e["args"], app=app).save()


if __name__ == "__main__":
    {"django": fill_django, "redbeat": fill_redbeat}[place]()
