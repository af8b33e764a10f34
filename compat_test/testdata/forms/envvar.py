from celery import Celery

app = Celery("envvar")
app.config_from_envvar("CELERY_CONFIG_MODULE")
