from celery import Celery

celery = Celery("other", broker="redis://localhost/1")
celery.conf.task_default_queue = "proj.other"
