from celery import Celery

app = Celery("first", broker="redis://localhost/1")
app.conf.task_default_queue = "proj.apps"
second = Celery("second", broker="redis://localhost/1")
second.conf.task_default_queue = "second of proj.apps"
