import os

from celery import Celery

if "CLOCK_FROM" in os.environ:
    import movedclock  # noqa: F401

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")

app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(name="t.known")
def known():
    """Gives the admin's list of tasks something to choose."""
