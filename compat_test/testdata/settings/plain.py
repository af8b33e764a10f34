"""An app that is configured in code."""
from datetime import timedelta

from celery import Celery

app = Celery("plain", broker="redis://:s%40cret@localhost:6379/1", backend="redis://localhost:6379/2")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_time_limit=30,
    task_soft_time_limit=timedelta(seconds=20),
    result_expires=timedelta(hours=2),
    worker_prefetch_multiplier=1,
    worker_concurrency=3,
    worker_max_tasks_per_child=100,
    task_default_rate_limit="100/m",
    timezone="Asia/Shanghai",
    broker_transport_options={"visibility_timeout": 7200, "priority_steps": list(range(10)), "sep": ":", "queue_order_strategy": "priority"},
    result_backend_transport_options={"global_keyprefix": "mine"},
    broker_connection_retry_on_startup=True,
    redbeat_redis_url="redis://localhost/9",
)


@app.task(name="plain.add")
def add(x, y):
    return x + y
