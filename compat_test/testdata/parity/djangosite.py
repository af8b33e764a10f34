"""A Django project as its documentation has it."""
import os

from configured import celery_app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "djangosettings")
app = celery_app("djangosite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
