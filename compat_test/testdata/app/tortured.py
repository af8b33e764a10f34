"""The tasks of tapp that note their runs, by other names: those of tapp run in Go here. Their processes are killed meanwhile."""
import random
import subprocess

from celery.signals import task_prerun

from tapp import app

app.conf.task_reject_on_worker_lost = True
for name in [name for name in app.tasks if name.startswith("tapp.")]:
    task = type(app.tasks.pop(name))
    if name.startswith("tapp.work"):
        app.register_task(type(task.__name__, (task,), {"name": name.replace("tapp", "tortured")})())


@task_prerun.connect
def leave_a_process(**_):
    """It may outlive this one."""
    if random.random() < 0.02:
        subprocess.Popen(["sleep", "1"])
