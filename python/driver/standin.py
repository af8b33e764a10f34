"""The stand-in for Celery's MainProcess: serves what the app hangs in there.

It is a fork of the fork server, so that threads and timers of the app's never live in a process
that forks. The Go worker sends it a JSON object a line: requests, which have a number ("ask") and are
answered, and news, which are not. Steps of the worker's blueprint find their timer and event
loop served, and everything else that is the Go worker's absent.
"""
import atexit
import json
import os
import select
import signal
import socket

from apium_driver import news, refused
from apium_driver.child import die_with
from apium_driver.hooks import is_apps

EXIT_FAILURE = 1


class Absent(object):
    """Takes the place of what this process does not have, and says so when it is used."""

    def __init__(self, name):
        self.__dict__["_name"] = name

    def __bool__(self):
        return False

    def __getattr__(self, attribute):
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise RuntimeError(
            "%s is not available: the tasks of this worker are consumed and run by Apium, not by this process" % self.__dict__["_name"])

    def __repr__(self):
        return "<not available: %s>" % self.__dict__["_name"]


def main(app, worker, fd, parent):
    """Serves until the Go worker closes the socket."""
    die_with(parent)
    from billiard import util
    util._finalizer_registry.clear()
    util._run_after_forkers()
    Standin(app, worker, socket.socket(fileno=fd)).run()


class Standin(object):
    def __init__(self, app, worker, sock):
        self.app, self.worker, self.consumer, self.sock = app, worker, worker.consumer, sock
        self.rest = b""
        self.steps = Steps(worker)
        self.state = None  # of control commands
        self.ended = False
        self.news = news.News(app, worker)

    def run(self):
        self.prepare()
        self.send(up=os.getpid())
        hub = self.worker.hub
        if hub is not None:
            hub.add_reader(self.sock, self.receive)
        while True:
            try:
                if hub is not None:
                    hub.run_once()
                else:
                    select.select([self.sock], [], [])
                    self.receive()
            except SystemExit as exc:
                self.stopped(exc)
            except Exception:
                log().critical("Error in the event loop", exc_info=True)

    def prepare(self):
        """Makes the worker look like one that runs, but for what is the Go worker's."""
        from celery import bootsteps
        from celery.utils.collections import AttributeDict
        from celery.utils.functional import pass1
        for signum in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(signum, signal.SIG_DFL)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: self.send(stop="warm", status=0))
        signal.signal(signal.SIGQUIT, lambda *_: self.send(stop="cold", status=EXIT_FAILURE))
        worker, consumer = self.worker, self.consumer
        for name in ("connection", "task_consumer", "event_dispatcher"):
            setattr(consumer, name, Absent("consumer." + name))
        worker.pool = consumer.pool = Absent("worker.pool")
        worker.stop = lambda in_sighandler=False, exitcode=None: self.send(stop="warm", status=exitcode or 0)
        worker.terminate = lambda in_sighandler=False: self.send(stop="cold", status=EXIT_FAILURE)
        worker.blueprint.state = consumer.blueprint.state = bootsteps.RUN
        self.state = AttributeDict(
            app=self.app, hostname=worker.hostname, consumer=consumer, tset=pass1 if worker.use_eventloop else set)

    def send(self, **message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self):
        data = self.sock.recv(1 << 16)
        if not data:
            if self.ended:
                atexit._run_exitfuncs()
            os._exit(0)
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            self.handle(json.loads(line.decode()))

    def handle(self, message):
        request, op = message.pop("ask", 0), message.pop("op")
        answer = {"ask": request}
        try:
            if not request:
                getattr(self.news, op)(**message)
                return
            answer["value"] = getattr(self, "do_" + op)(**message) or ""
        except SystemExit as exc:
            answer["error"] = repr(exc)
            self.stopped(exc)
        except Exception as exc:
            log().critical("Unrecoverable error: %r", exc, exc_info=True)
            answer["error"] = repr(exc)
        if request:
            self.send(**answer)

    def stopped(self, exc):
        """Code of the app's ends the worker, as it may in Celery's MainProcess."""
        from celery.exceptions import WorkerTerminate
        how = "cold" if isinstance(exc, WorkerTerminate) else "warm"
        self.send(stop=how, status=exc.code if isinstance(exc.code, int) else EXIT_FAILURE if exc.code else 0)

    def do_start(self):
        self.steps.start()

    def do_ready(self):
        from celery import signals
        signals.worker_ready.send(sender=self.consumer)
        if self.worker.hub is not None:
            self.steps.call("register_with_event_loop", self.worker.hub)

    def do_shutting_down(self, sig, how, exitcode):
        from celery import signals
        signals.worker_shutting_down.send(sender=self.worker.hostname, sig=sig, how=how, exitcode=exitcode)

    def do_close(self, method):
        """Nothing is consumed any more, and children end what they are at."""
        self.app.loader.shutdown_worker()
        self.steps.close(method)

    def do_end(self, method):
        """The last task is done."""
        from celery import signals
        self.steps.end(method)
        self.worker.timer.stop()
        if method == "stop":
            signals.worker_shutdown.send(sender=self.worker)
        self.ended = True

    def do_command(self, name, arguments):
        from celery.worker.control import Panel
        from kombu.utils.json import dumps
        try:
            return dumps(Panel.data[name](self.state, **json.loads(arguments)))
        except Exception as exc:
            log("kombu.pidbox").error("pidbox command error: %r", exc, exc_info=True)
            return dumps({"error": repr(exc)})


class Steps(object):
    """The app's own steps of both blueprints, in Celery's order."""

    def __init__(self, worker):
        self.worker, self.consumer = worker, worker.consumer
        without = [step for step, _ in refused.steps(worker)]
        kinds = [type(step).__module__ + ":" + type(step).__name__ for step in worker.steps]
        pool = kinds.index("celery.worker.components:Pool")
        self.before_pool = [(worker, step) for step in worker.steps[:pool] if is_apps(type(step)) and step not in without]
        self.behind_pool = [(worker, step) for step in worker.steps[pool:] if is_apps(type(step)) and step not in without]
        self.of_consumer = [(self.consumer, step) for step in self.consumer.steps if is_apps(type(step)) and step not in without]
        self.all = self.before_pool + self.behind_pool + self.of_consumer

    def start(self):
        for parent, step in self.all:
            step.start(parent)

    def call(self, method, *args):
        for parent, step in self.before_pool + self.behind_pool:
            one(parent, step, method, *args)

    def close(self, method):
        """Ends what has to end before the last task is done."""
        self.call("close")
        for parent, step in self.of_consumer:
            one(parent, step, "close")
        for parent, step in reversed(self.of_consumer):
            one(parent, step, "stop")
        for parent, step in reversed(self.behind_pool):
            one(parent, step, method)

    def end(self, method):
        for parent, step in reversed(self.before_pool):
            one(parent, step, method)
        for parent, step in reversed(self.of_consumer):
            one(parent, step, "shutdown")


def one(parent, step, method, *args):
    fun = getattr(step, method, None)
    if fun is None:
        return
    try:
        fun(parent, *args)
    except Exception as exc:
        log("celery.bootsteps").exception("Error on %s %s: %r", method, step.alias, exc)


def log(name="celery.worker"):
    from celery.utils.log import get_logger
    return get_logger(name)
