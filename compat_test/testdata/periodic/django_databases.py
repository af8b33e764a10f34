"""An app of Django's whose results and periodic tasks are in two databases."""
import os

import django
from celery import Celery
from django.conf import settings


class Router:
    def db_for_write(self, model, **hints):
        return "beat" if model._meta.app_label == "django_celery_beat" else None


settings.configure(
    SECRET_KEY="for tests only", USE_TZ=False, TIME_ZONE="Asia/Tokyo", DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django_celery_results", "django_celery_beat"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "relative.sqlite3", "OPTIONS": {"timeout": 20}},
        "beat": {"ENGINE": "django.db.backends.postgresql", "NAME": "beat", "USER": "u", "PASSWORD": "p@ss", "HOST": "h", "PORT": 5433},
    },
    DATABASE_ROUTERS=["django_databases.Router"], DJANGO_CELERY_BEAT_TZ_AWARE=False,
    CELERY_RESULT_BACKEND="django-db", CELERY_BEAT_SCHEDULER="django_celery_beat.schedulers:DatabaseScheduler",
    CELERY_BROKER_URL=os.environ["BROKER"],
)
django.setup()
app = Celery("django_databases")
app.config_from_object("django.conf:settings", namespace="CELERY")
