"""Does what people do with periodic tasks: steps from standard input, each line a JSON list of [name, argument].

Prints, as a line for each, a JSON list of what the steps return. Times are seconds from now.
"""
import datetime
import json
import os
import re
import sys

if "CLOCK_FROM" in os.environ:
    import movedclock  # noqa: F401
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_celery_beat.models import (  # noqa: E402
    ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks, SolarSchedule,
)

TASKS = "/admin/django_celery_beat/periodictask/"


def at(seconds):
    return timezone.now() + datetime.timedelta(seconds=seconds)


def values(given):
    """Model fields of a step's: what ends in _in is seconds from now, and schedules are made."""
    out = {}
    for key, value in given.items():
        if key.endswith("_in"):
            out[key[:-3]] = at(value)
        elif value is None:
            out[key] = None
        elif key == "interval":
            out[key] = IntervalSchedule.objects.get_or_create(every=value[0], period=value[1])[0]
        elif key == "crontab":
            fields = dict(zip(("minute", "hour", "day_of_month", "month_of_year", "day_of_week"), value[0].split()))
            out[key] = CrontabSchedule.objects.get_or_create(**fields, timezone=value[1])[0]
        elif key == "solar":
            out[key] = SolarSchedule.objects.get_or_create(event=value[0], latitude=value[1], longitude=value[2])[0]
        else:
            out[key] = value
    if "clocked" in out:
        out["clocked"] = ClockedSchedule.objects.create(clocked_time=out["clocked"])
    return out


def migrate(_):
    call_command("migrate", verbosity=0)
    get_user_model().objects.create_superuser("admin", "admin@example.com", "admin")


def create(tasks):
    for task in tasks:
        last = task.pop("last_run_at_in", None)
        made = PeriodicTask.objects.create(**values(task))
        if last is not None:
            now = timezone.now() if settings.USE_TZ else datetime.datetime.utcnow()  # as beat writes it
            PeriodicTask.objects.filter(pk=made.pk).update(last_run_at=now + datetime.timedelta(seconds=last))
    PeriodicTasks.update_changed()


def edit(tasks):
    for task in tasks:
        row = PeriodicTask.objects.get(name=task["name"])
        for key, value in values(task).items():
            setattr(row, key, value)
        row.save()


def delete(names):
    for name in names:
        PeriodicTask.objects.get(name=name).delete()


def client():
    session = Client()
    session.force_login(get_user_model().objects.get(username="admin"))
    return session


def form(url):
    """What a browser would send back of a page with a form."""
    html = client().get(url).content.decode()
    fields = {}
    for tag in re.findall(r"<input[^>]*>", html):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        name, kind = attributes.get("name"), attributes.get("type")
        if name and kind != "submit" and (kind != "checkbox" or " checked" in tag):
            fields[name] = attributes.get("value", "on" if kind == "checkbox" else "")
    for name, text in re.findall(r'<textarea name="(\w+)"[^>]*>\s*(.*?)</textarea>', html, re.S):
        fields[name] = text
    for name, options in re.findall(r'<select name="(\w+)"[^>]*>(.*?)</select>', html, re.S):
        chosen = re.search(r'value="([^"]*)" selected', options)
        fields[name] = chosen.group(1) if chosen else ""
    import html as entities
    fields = {k: entities.unescape(v) for k, v in fields.items() if not k.startswith(("initial-", "_", "csrf"))}
    return fields


def post(url, fields):
    answer = client().post(url, fields)
    if answer.status_code != 302:
        raise SystemExit(f"{url}: {answer.status_code}\n{answer.content.decode()[:20000]}")


def admin_add(task):
    fields = {"args": "[]", "kwargs": "{}", "headers": "{}", "enabled": "on", "description": ""}
    fields.update({k: getattr(v, "pk", v) for k, v in values(task).items()})
    post(TASKS + "add/", fields)


def admin_change(task):
    url = f"{TASKS}{PeriodicTask.objects.get(name=task['name']).pk}/change/"
    fields = form(url)
    for key, value in values(task).items():
        if value is None:
            fields.pop(key, None)
        else:
            fields[key] = getattr(value, "pk", value)
    post(url, fields)


def admin_reschedule(given):
    """Changes the schedule that a task has, and not which one it has."""
    row = PeriodicTask.objects.get(name=given.pop("name"))
    schedule = row.interval or row.crontab
    url = f"/admin/django_celery_beat/{schedule._meta.model_name}/{schedule.pk}/change/"
    post(url, form(url) | given)


def admin_delete(name):
    post(f"{TASKS}{PeriodicTask.objects.get(name=name).pk}/delete/", {"post": "yes"})


def admin_action(given):
    action, names = given
    chosen = [str(pk) for pk in PeriodicTask.objects.filter(name__in=names).values_list("pk", flat=True)]
    post(TASKS, {"action": action, "_selected_action": chosen})


def page(name):
    """The text of the page of a task, and of its line in the list."""
    session = client()
    row = PeriodicTask.objects.get(name=name)
    change = session.get(f"{TASKS}{row.pk}/change/").content.decode()
    listed = session.get(TASKS).content.decode()
    last = re.search(r'field-last_run_at.*?<div class="readonly">(.*?)</div>', change, re.S)
    line = re.search(rf'<tr><td class="action-checkbox">(?:(?!</tr>).)*?>{re.escape(name)}</a>.*?field-last_run_at[^>]*>(.*?)</td>', listed, re.S)
    return {"page": last and last.group(1), "list": line and line.group(1)}


def rows(_):
    found = {}
    for row in PeriodicTask.objects.all():
        last = row.last_run_at and (row.last_run_at - timezone.now()).total_seconds()
        found[row.name] = {
            "enabled": row.enabled, "last_run_at": last, "total_run_count": row.total_run_count,
            "date_changed": row.date_changed.isoformat(), "args": row.args, "kwargs": row.kwargs,
        }
    return found


for line in sys.stdin:
    print(json.dumps([globals()[name](argument) for name, argument in json.loads(line)]), flush=True)
