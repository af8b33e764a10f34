"""The app of bench_app.py with results in PostgreSQL, in the tables of django-celery-results. It is its own settings of Django."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "bench_sql"

SECRET_KEY = "bench"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_results", "django_celery_beat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": os.environ["BENCH_POSTGRES"],
                         "CONN_MAX_AGE": None}}
USE_TZ = True

if not os.environ.get("BENCH_MIGRATE"):
    from celery import Celery

    app = Celery("bench", broker=f"redis://{os.environ['BENCH_REDIS']}/0", backend="django-db")

    @app.task(name="bench.add")
    def add(x, y):
        return x + y
