"""What the Go worker tells the app's receivers of, as Celery's MainProcess does."""
import base64
import json
import signal

from apium_driver import hooks, request as requests


def signal_of(number):
    """A signal as Celery has it that names one: receivers look at its name and value."""
    try:
        return signal.Signals(number)
    except ValueError:
        return number  # None, if there was none


class News(object):
    def __init__(self, app, worker):
        self.app, self.worker, self.consumer = app, worker, worker.consumer
        self.failures = hooks.failures(app)
        self.heart = self.pool = None

    def received(self, task, **message):
        from celery import signals
        signals.task_received.send(sender=self.consumer, request=self.request(task, message))

    def revoked(self, task, terminated, signum, expired, **message):
        from celery import signals
        signals.task_revoked.send(
            sender=self.app.tasks[task], request=self.request(task, message)._context, terminated=terminated, signum=signal_of(signum), expired=expired)

    def rejected(self, text, type, error):
        from celery import signals
        exc = exception(type, error) if type else None
        signals.task_rejected.send(sender=self.consumer, message=self.envelope(text), exc=exc)

    def unknown(self, text, name, id):
        from celery import signals
        signals.task_unknown.send(sender=self.consumer, message=self.envelope(text), exc=KeyError(name), name=name, id=id)

    def heartbeat(self):
        from celery import signals
        if self.heart is None:
            from celery.worker.heartbeat import Heart
            self.heart = Heart.__new__(Heart)
            self.heart.timer = self.worker.timer
        signals.heartbeat_sent.send(sender=self.heart)

    def creating(self):
        from celery import signals
        if self.pool is None:
            from celery.concurrency.asynpool import AsynPool
            self.pool = AsynPool.__new__(AsynPool)
        signals.worker_before_create_process.send(sender=self.pool)

    def failed(self, task, type, arguments, limit, **message):
        """A failure of which no child can tell: its time was over, or the child is gone."""
        from celery import signals, states
        from celery.app.trace import task_has_custom
        task, request = self.app.tasks[task], self.request(task, message)
        exc, einfo = raised(exception(type, *arguments))
        if self.failures["lost"]:
            task.request_stack.push(request._context)
            try:
                signals.task_failure.send(
                    sender=task, task_id=request.id, exception=exc, args=request.args, kwargs=request.kwargs,
                    traceback=einfo.traceback, einfo=einfo)
            finally:
                task.request_stack.pop()
        if not limit or not self.failures["limit"]:
            return
        # Celery 5.7 tells of an exceeded time limit twice.
        task.on_failure(exc, request.id, request.args, request.kwargs, einfo)
        if task_has_custom(task, "after_return"):
            task.after_return(states.FAILURE, exc, request.id, request.args, request.kwargs, None)
        signals.task_failure.send(
            sender=task, task_id=request.id, exception=exc, args=request.args, kwargs=request.kwargs,
            traceback=exc.__traceback__, einfo=einfo)

    def given_up(self, task, arguments, traceback, **message):
        """A task has rejected its message."""
        from celery import signals
        task, request = self.app.tasks[task], self.request(task, message)
        exc, einfo = raised(exception("celery.exceptions.Reject", *arguments))
        einfo.traceback = traceback
        signals.task_failure.send(
            sender=task, task_id=request.id, exception=exc, args=request.args, kwargs=request.kwargs, traceback=traceback, einfo=einfo)

    def request(self, name, message):
        """Makes Celery's object of a message, as its MainProcess has one."""
        from celery.utils.imports import symbol_by_name
        message.update(properties=requests.as_transport(message), redelivered=requests.redelivered(message))
        task, received = self.app.tasks[name], made(body=base64.b64decode(message.pop("body")), **message)
        return symbol_by_name(task.Request)(
            received, app=self.app, hostname=self.worker.hostname, task=task, body=received.body, headers=received.headers,
            decoded=False, utc=self.app.uses_utc_timezone())

    def envelope(self, text):
        """Makes kombu's object of a message that is no task's."""
        try:
            parts = json.loads(text)
            properties = parts.get("properties") or {}
            body = parts["body"]
            if properties.get("body_encoding") == "base64":
                body = base64.b64decode(body)
            info = properties.get("delivery_info") or {}
            return made(
                body=body, headers=parts.get("headers"), properties=properties, content_type=parts.get("content-type"),
                content_encoding=parts.get("content-encoding"), exchange=info.get("exchange"), routing_key=info.get("routing_key"))
        except Exception:
            return made(body=text, headers=None, properties=None)


def made(body, headers, properties, content_type=None, content_encoding=None, exchange=None, routing_key=None, redelivered=None):
    from kombu.message import Message
    properties = properties or {}
    info = {"exchange": exchange, "routing_key": routing_key, "priority": properties.get("priority"), "redelivered": redelivered}
    return Message(
        body=body, delivery_tag=properties.get("delivery_tag"), content_type=content_type, content_encoding=content_encoding,
        delivery_info=info, properties=properties, headers=headers or {}, channel=None)


def exception(name, *args):
    """Makes an exception of a class that is named module.Class."""
    from celery.utils.imports import symbol_by_name
    try:
        return symbol_by_name(name)(*args)
    except Exception:
        return Exception(*args)


def raised(exc):
    from billiard.einfo import ExceptionInfo
    try:
        raise exc
    except Exception:
        return exc, ExceptionInfo()
