"""What Python was before gevent or eventlet changed it: the fork server runs no greenlets."""
from _thread import allocate_lock, start_new_thread  # noqa: F401
from os import fork, read, waitpid  # noqa: F401
from select import select  # noqa: F401
from signal import set_wakeup_fd, signal  # noqa: F401
from socket import socket  # noqa: F401

patched = None  # by which of them it was changed
trouble = None  # why it could not be changed


def patch(pool):
    """Changes it as `celery worker -P gevent` does: before anything else is imported."""
    global patched, trouble
    if pool not in ("gevent", "eventlet"):
        return
    patched = pool
    try:
        import celery
        celery.maybe_patch_concurrency(["celery", "worker", "-P", pool])
    except BaseException as exc:
        trouble = exc  # it is told when the app is to be loaded


def forked():
    """Is called in a new process."""
    if patched == "gevent":
        import gevent
        gevent.reinit()
    elif patched == "eventlet":
        from eventlet import hubs
        hubs.use_hub()
