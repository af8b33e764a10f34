"""An app with a setting that only Python can know: a function that routes tasks."""
import os

from celery import Celery

app = Celery("routed", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])


def router(name, args, kwargs, options, task=None, **more):
    return None


app.conf.task_routes = (router,)
