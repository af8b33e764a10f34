import os

from celery import Celery

app = Celery("byloader", loader=os.environ.get("CELERY_LOADER"))
