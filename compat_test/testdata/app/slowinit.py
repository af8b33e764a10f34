"""An app whose processes take longer to begin than worker_proc_alive_timeout."""
import os
import time

from celery import Celery, signals

app = Celery("slowinit", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.worker_proc_alive_timeout = 0.2


@signals.worker_process_init.connect
def init(**_):
    time.sleep(1)


@app.task
def pid():
    return os.getpid()
