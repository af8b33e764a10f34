"""A child that loads the app itself (worker_pool_start_method spawn): nothing is forked that has loaded it."""
import fcntl
import json
import os
import signal
import sys
import tempfile
import types

from apium_driver import child, load

SOCKET, DRIVER, PAGE = 3, 4, 5  # descriptors in the new process
ABOVE = 10
NAME = "SpawnPoolWorker"


def wanted(worker):
    """Tells whether Celery would spawn its children."""
    from billiard import get_start_method
    return getattr(worker, "pool_start_method", "fork") == "spawn" or get_start_method() == "spawn"


def spawn(app, worker, options, number, index, fd, page):
    """Starts a process. Returns its id."""
    import __main__
    given = dict(__main__.given, run="spawned", options=dict(
        app=options["app"], argv=options["argv"], include=list(app.conf.include), number=number, index=index, direct=options["direct"], claim=options["claim"], parent=os.getpid(),
        worker={name: getattr(worker, name) for name in ("hostname", "max_tasks_per_child", "max_memory_per_child")},
    ))
    with tempfile.TemporaryFile() as driver:
        driver.write(json.dumps(given).encode())
        driver.seek(0)
        moved = [fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, ABOVE) for source in (fd, driver.fileno(), page)]
    try:
        return os.posix_spawn(
            sys.executable, [sys.executable, "-c", options["starter"]], dict(os.environ, FORKED_BY_MULTIPROCESSING="1"),
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in zip(moved, (SOCKET, DRIVER, PAGE))],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1],
        )
    finally:
        for source in moved:
            os.close(source)


def main(options):
    """Is the child."""
    os.set_inheritable(SOCKET, False)
    page = child.Page(PAGE)
    os.close(PAGE)
    sys.argv[:] = options["argv"]
    app = load.find(options)
    for module in options["include"]:
        app.loader.import_task_module(module)
    worker = types.SimpleNamespace(**options["worker"])
    os._exit(child.child(
        app, worker, options, options["number"], options["index"], SOCKET, page, options["parent"], name=NAME) & 0xFF)
