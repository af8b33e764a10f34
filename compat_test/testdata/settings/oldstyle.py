"""An app whose settings module has Celery 3's names."""
from celery import Celery

app = Celery("oldstyle")
app.config_from_object("oldconfig")
