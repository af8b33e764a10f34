"""What the worker may store in SQL in place of the app, and what that needs."""


def adapt(meta, backend, request):
    """Leaves out what Django's tables do not keep, and adds what they keep besides."""
    if getattr(request, "argsrepr", None) is not None:  # the worker has it, too
        meta.pop("args", None)
        meta.pop("kwargs", None)
    of_request = getattr(backend, "_get_meta_from_request", None)  # older releases keep no more
    more = of_request and of_request(request)
    if more:
        meta["meta"] = more


def is_django(backend):
    return type(backend).__module__.startswith("django_celery_results.")


def is_sqlalchemy(backend):
    return type(backend).__module__.startswith("celery.backends.database")


def has_whole_records(backend):
    """Tells whether Celery itself stores in JSON. Before 5.7 its database backend keeps objects of any class."""
    return is_django(backend) or hasattr(backend, "_decode_stored_result")


def only_python(backend):
    """Why only Python can store in a backend in SQL as the app means it; "" if others can, or it is none."""
    try:
        if is_django(backend):
            return django_only(backend)
        if is_sqlalchemy(backend):
            return sqlalchemy_only(backend)
    except Exception as exc:
        return "%s: %s" % (type(exc).__name__, exc)
    return ""


def django_only(backend):
    from django.db.models import signals
    from django_celery_results.backends.database import DatabaseBackend
    from django_celery_results.models import TaskResult
    if type(backend)._store_result is not DatabaseBackend._store_result or backend.TaskModel is not TaskResult:
        return "the result backend %s is the app's own" % type(backend).__name__
    if backend.serializer != "json":
        return "result_serializer is %s" % backend.serializer
    for signal in ("pre_save", "post_save"):
        if getattr(signals, signal).has_listeners(TaskResult):
            return "something listens to Django's signal %s of results" % signal
    if type(TaskResult._default_manager).__module__ != "django_celery_results.managers":
        return "the manager of results is the app's own"
    return ""


# Of database_engine_options those that change nothing of what is stored, and where.
HARMLESS = ("echo", "echo_pool", "future", "max_overflow")


def sqlalchemy_only(backend):
    from celery.backends.database import DatabaseBackend
    if type(backend)._store_result is not DatabaseBackend._store_result:
        return "the result backend %s is the app's own" % type(backend).__name__
    if backend.serializer != "json":
        return "result_serializer is %s" % backend.serializer
    if backend.app.conf.get("database_engine_callback"):
        return "database_engine_callback is a function in Python"
    for name in backend.engine_options:
        if name not in HARMLESS and not name.startswith("pool_"):
            return "database_engine_options.%s is for SQLAlchemy only" % name
    return ""
