from celery import Celery

app = Celery("proj", broker="redis://localhost/1")
app.conf.task_default_queue = "proj.celery"
