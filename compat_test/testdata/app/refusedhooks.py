"""An app that hangs in Celery's MainProcess what nothing can stand in for; its receivers change the worker, too."""
import os

from celery import Celery, bootsteps, signals
from celery.worker.control import inspect_command
from celery.worker.request import Request

app = Celery("refusedhooks", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])


@signals.celeryd_after_setup.connect
def setup(sender, instance, **kwargs):
    instance.app.amqp.queues.select_add("extra")
    instance.app.amqp.queues.deselect("celery")


@signals.worker_init.connect
def init(sender, **kwargs):
    sender.concurrency = 3


@app.task
def add(x, y):
    return x + y


if os.environ.get("REFUSED"):
    @signals.beat_init.connect
    def beats(**kwargs):
        pass

    @signals.beat_embedded_init.connect
    def embedded(**kwargs):
        pass

    @signals.before_task_publish.connect
    def stamps(headers, **kwargs):
        headers["stamp"] = 1

    class Own(Request):
        pass

    class Consumes(bootsteps.ConsumerStep):
        def get_consumers(self, channel):
            return []

    class Connected(bootsteps.StartStopStep):
        def start(self, consumer):
            consumer.connection.default_channel.basic_qos(0, 1, False)

    @inspect_command()
    def busy(state):
        from celery.worker import state as counted
        return len(counted.active_requests)

    app.steps["consumer"].add(Consumes)
    app.steps["consumer"].add(Connected)

    @app.task(Request=Own)
    def special():
        pass
