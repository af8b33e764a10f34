"""Django's settings for results in its tables: the database is DATABASE, an entry of DATABASES as JSON."""
import json
import os

try:
    import MySQLdb
except ImportError:
    import pymysql
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_results"] + os.environ.get("MORE_APPS", "").split()
DATABASES = {"default": json.loads(os.environ["DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = os.environ.get("USE_TZ", "1") == "1"
TIME_ZONE = os.environ.get("TIME_ZONE", "Europe/Berlin")
