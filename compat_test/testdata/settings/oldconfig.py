import os

BROKER_URL = "redis://localhost:6379/1"
CELERY_RESULT_BACKEND = "redis://localhost:6379/2"
BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600 * 5}
CELERYD_CONCURRENCY = 7
CELERYD_PREFETCH_MULTIPLIER = 2
CELERYD_TASK_TIME_LIMIT = 60
CELERYD_MAX_TASKS_PER_CHILD = 10
CELERY_ACKS_LATE = True
CELERY_TASK_RESULT_EXPIRES = 3600
CELERY_IGNORE_RESULT = True
CELERY_STORE_ERRORS_EVEN_IF_IGNORED = True
CELERY_TRACK_STARTED = 1
CELERY_DEFAULT_QUEUE = "main"
CELERY_ACCEPT_CONTENT = ["json", "yaml"]
CELERY_ROUTES = {"old.*": {"queue": "old", "routing_key": "old"}}
CELERY_QUEUES = {"main": {"exchange": "main"}, "old": {"exchange": "old", "exchange_type": "topic", "binding_key": "old.#"}}
CELERY_ANNOTATIONS = {"*": {"rate_limit": "10/s"}}
CELERY_DISABLE_RATE_LIMITS = True
HERE = os.getcwd()  # any module has such things, too
