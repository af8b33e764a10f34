"""An app that hooks into the life of the worker and its processes."""
import os

from celery import bootsteps, signals
from celery.worker.control import control_command, inspect_command

from configured import celery_app, journal

app = celery_app()
import shoptasks  # noqa: E402,F401

class Greeter(bootsteps.Step):
    def __init__(self, worker, **kwargs):
        journal("bootstep", hostname=worker.hostname)


app.steps["worker"].add(Greeter)


def hear(name):
    def receiver(sender=None, **kwargs):
        kwargs.pop("signal", None)
        journal(name, sender=sender if isinstance(sender, str) else type(sender).__name__, arguments=sorted(kwargs))
    getattr(signals, name).connect(receiver, weak=False)


for signal in """celeryd_init celeryd_after_setup worker_init worker_ready worker_shutting_down worker_shutdown
worker_process_init worker_process_shutdown import_modules after_setup_logger after_setup_task_logger""".split():
    hear(signal)


@inspect_command()
def shop_hours(state, **kwargs):
    return {"hostname": state.hostname, "open": True, "tasks": "shoptasks.add" in state.app.tasks}


@control_command(args=[("n", int)], signature="[N=1]")
def shop_bell(state, n=1, **kwargs):
    return {"ok": "rang %d" % n}


@app.task
def process_index():
    import billiard
    return billiard.current_process().index is not None and os.getpid() != os.getppid()
