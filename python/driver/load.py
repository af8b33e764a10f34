"""Loads the app as `celery -A app worker` does."""
import contextlib
import os
import sys
import traceback

from apium_driver import unpatched, useroptions


def worker(options):
    """Makes what Celery makes in its MainProcess before anything connects. Returns app and worker.

    The worker is Celery's own object, never started: that imports the tasks, sets logging up,
    runs Django's fixup and sends celeryd_init and worker_init.
    """
    sys.argv[:] = options["argv"]
    app = find(options)
    arguments = dict(options["worker"], **useroptions.parse(app, options.get("user_options") or []))
    from celery import signals
    with held_back(signals.worker_process_init):
        made = app.Worker(**arguments)
        for module in options.get("modules") or ():  # those of pool_restart
            app.loader.import_from_cwd(module)
    check(made)
    signals.celeryd_after_setup.send(sender=made.hostname, instance=made, conf=app.conf)
    made.set_process_status("-active-")
    if not made._custom_logging and made.redirect_stdouts:
        app.log.redirect_stdouts(made.redirect_stdouts_level)
    return app, made


def check(worker):
    """Refuses what Celery's pool refuses when it starts; before 5.7, its children then ended at once, again and again."""
    limit = worker.max_tasks_per_child
    if worker.pool_cls.__module__ == "celery.concurrency.prefork" and limit is not None and limit < 1:
        raise useroptions.Mistake("Invalid value for --max-tasks-per-child (worker_max_tasks_per_child): %r: maxtasksperchild must be a positive int or None" % limit)


@contextlib.contextmanager
def held_back(signal):
    """Has a signal not sent: that of a new process is sent by the pool solo, and this is not its process."""
    signal.send = lambda *_, **__: []
    try:
        yield
    finally:
        del signal.send


def find(options):
    if unpatched.trouble is not None:
        raise unpatched.trouble
    from celery.app.utils import find_app  # before anything of the app's folder is in the way
    sys.path.insert(0, os.getcwd())
    app = find_app(options["app"])
    app = getattr(app, "_get_current_object", lambda: app)()
    getattr(app, "user_options")  # where Celery trips over what is no app
    return app


def complaint(options, exc):
    """What is wrong, in Celery's words."""
    if isinstance(exc, useroptions.Mistake):
        return {"error": str(exc), "usage": True}
    name, text = options["app"], trace(exc)
    if isinstance(exc, ImportError) and exc.name == "celery":
        return {"error": text, "no_celery": True}
    if isinstance(exc, ModuleNotFoundError) and exc.name == name:
        said = "The module %s was not found." % name
    elif isinstance(exc, AttributeError):
        said = str(exc.args[0] if exc.args else exc).capitalize()
        if of_the_app(exc):
            said += "\n" + text
    else:
        said = "While trying to load the module %s the following error occurred:\n%s" % (name, text)
    return {"error": said, "traceback": text, "type": type(exc).__name__}


def trace(exc):
    """The traceback as Celery would show it: from its own code on."""
    start = exc.__traceback__
    while start is not None and start.tb_frame.f_code.co_filename.startswith("<apium "):
        start = start.tb_next
    return "".join(traceback.format_exception(type(exc), exc, start))


def of_the_app(exc):
    """Whether the app's own code has raised it, or what that has called."""
    frame = None
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        pass
    return frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] not in ("apium_driver", "celery", "kombu")
