"""The fork server: a process that has imported the app, and forks the children that run its tasks.

It is what `celery worker` is up to the start of its blueprint. It connects to nothing, has one
thread, and runs no task and, once it has loaded, none of the app's code.
"""
import gc
import os
import signal
import sys
import threading
import time
import traceback

from apium_driver import load, manifest, shared, spawned, unpatched
from apium_driver.orphan import Watch
from apium_driver.child import Page, child
from apium_driver.standin import main as stand_in
from apium_driver.wire import CONTROL_FD, Control


def main(options):
    os.set_inheritable(CONTROL_FD, False)
    control = Control(CONTROL_FD)
    began = time.time()
    watch = Watch(control.sock)
    try:
        app, worker = load.worker(options)
        found = manifest.of(app, worker, options)
    except BaseException as exc:
        control.send(op="broken", **load.complaint(options, exc))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    watch.end()
    warn_of_threads(worker)
    control.send(op="manifest", seconds=time.time() - began, **found)
    Server(app, worker, options, control).serve()


def warn_of_threads(worker):
    """Tells of threads that the app has started: they do not live on in a fork, but what they hold does."""
    if unpatched.patched or spawned.wanted(worker):
        return
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if names:
        from celery.utils.log import get_logger
        get_logger("celery.worker").warning(
            "The app has started threads while it was loaded: %s. They do not run in child processes, where a lock that one of "
            "them held when they were forked is never released. Start them in worker_process_init, or use --pool-start-method spawn.",
            ", ".join(names))


def import_ahead():
    """Imports what each child would import when it starts, or first connects: once, in pages that all share."""
    import encodings.idna  # noqa: F401
    from celery import platforms
    if hasattr(platforms, "set_pdeathsig"):
        platforms.set_pdeathsig("SIGKILL")  # it is set already; where there is cffi, this imports a C parser


class Server(object):
    def __init__(self, app, worker, options, control):
        self.app, self.worker, self.options, self.control = app, worker, options, control
        self.pid = os.getpid()
        self.spawns = manifest.pool(worker) == "prefork" and spawned.wanted(worker)
        self.children = {}  # by pid: the number of the child, and the page shared with it
        self.pids = {}  # by number
        self.woken, self.wakes = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(self.wakes, False)

    def serve(self):
        unpatched.signal(signal.SIGCHLD, lambda *_: None)
        unpatched.set_wakeup_fd(self.wakes)
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
            unpatched.signal(ignored, signal.SIG_IGN)  # the Go worker decides
        if not self.spawns:
            import_ahead()
        # Once: to collect before each fork, as Celery does, would write to all pages, and
        # so take them from the children that share them.
        gc.collect()
        gc.freeze()
        while True:
            ready = unpatched.select([self.control.sock, self.woken], [], [])[0]
            if self.woken in ready:
                self.reap()
            if self.control.sock in ready:
                messages = self.control.receive()
                if messages is None:
                    self.end()
                for message in messages:
                    getattr(self, message.pop("op"))(**message)

    def reap(self):
        try:
            unpatched.read(self.woken, 4096)
        except BlockingIOError:
            pass
        for pid in list(self.children):  # and no other: what the app has started while it loaded is its own
            reaped, status = unpatched.waitpid(pid, os.WNOHANG)
            if reaped == 0:
                continue
            number, page = self.children.pop(pid)
            del self.pids[number]
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            self.control.send(op="exited", child=number, code=code)
            page.close()

    def spawn(self, child, index, standin=False, direct=False, claim=0):
        options = dict(self.options, direct=direct, claim=claim)
        fds, page = self.control.taken(), None
        try:
            if len(fds) < (1 if standin else 2):
                raise OSError("its sockets could not be taken over")
            page = Page() if standin else Page(fds[1])
            if self.spawns and not standin:
                pid = spawned.spawn(self.app, self.worker, options, child, index, *fds)
            else:
                pid = unpatched.fork()
        except OSError as exc:
            self.control.send(op="exited", child=child, why="cannot start a process: %s" % exc)
            if page is not None:
                page.close()
            close(fds)
            return
        if pid == 0:
            close(fds[1:])
            self.become(options, child, index, fds[0], page, standin)
        close(fds)
        self.children[pid] = child, page
        self.pids[child] = pid

    def become(self, options, number, index, fd, page, standin):
        """Is a child, or the stand-in for the MainProcess, for the rest of its life."""
        code = 1
        try:
            unpatched.set_wakeup_fd(-1)
            unpatched.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self.woken)
            os.close(self.wakes)
            self.control.sock.close()
            for _, other in self.children.values():
                other.close()
            unpatched.forked()
            if standin:
                code = stand_in(self.app, self.worker, fd, self.pid)
            elif manifest.pool(self.worker) == "prefork":
                code = child(self.app, self.worker, options, number, index, fd, page, self.pid)
            else:
                code = shared.run(self.app, self.worker, options, fd, page, self.pid)
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 1
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code & 0xFF)

    def kill(self, child, signum, job=0):
        pid = self.pids.get(child)
        if pid is None:
            return  # reaped: the pid may be somebody else's by now
        if job:
            self.children[pid][1].stop(job)
        os.kill(pid, signum)

    def end(self):
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def close(fds):
    for fd in fds:
        os.close(fd)
