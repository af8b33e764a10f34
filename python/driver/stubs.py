"""Says what the app's tasks look like to those who write them in Go: parameters, types, options."""
import inspect
import json
import math
import os
import sys

from apium_driver import describe
from apium_driver.annotations import Types, hints

KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional_only",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional",
    inspect.Parameter.VAR_POSITIONAL: "var_positional",
    inspect.Parameter.KEYWORD_ONLY: "keyword_only",
    inspect.Parameter.VAR_KEYWORD: "var_keyword",
}
OPTIONS = (
    "acks_late", "acks_on_failure_or_timeout", "acks_on_failure", "acks_on_timeout", "reject_on_worker_lost", "retry_on_worker_lost",
    "ignore_result", "track_started", "store_errors_even_if_ignored", "send_events", "trail", "max_retries", "default_retry_delay",
    "rate_limit", "time_limit", "soft_time_limit", "queue", "exchange", "routing_key", "priority", "expires", "serializer",
    "compression", "typing", "pydantic", "throws", "autoretry_for", "dont_autoretry_for", "retry_kwargs", "retry_backoff",
    "retry_backoff_max", "retry_jitter", "Strategy", "Request",
)
USUAL = {  # where the attribute of Celery's Task does not say
    "typing": True, "pydantic": False, "autoretry_for": (), "dont_autoretry_for": (), "retry_kwargs": {}, "retry_backoff": False,
    "retry_backoff_max": 600, "retry_jitter": True,
}
METHODS = ("__call__", "before_start", "on_success", "on_failure", "on_retry", "after_return", "apply_async")


def main(options):
    describe.answer(options, of)


def of(app, options):
    app.loader.import_default_modules()
    app.finalize()
    types = Types(default)
    tasks = [task_of(app, types, name, task) for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]
    return {"tasks": tasks, "types": types.declared}


def task_of(app, types, name, task):
    described = {"name": name, "options": options_of(app, task), "by_hand": methods(task)}
    try:
        function = unwrapped(task.run)
        described["doc"] = doc(task, function)
        described["place"] = place(function)
        described["parameters"], described["returns"] = signature(types, task.run, function)
    except Exception as exc:
        described["problem"] = "%s: %s" % (type(exc).__name__, exc)
    return described


def unwrapped(function):
    """The function that was written."""
    while True:
        inner = getattr(function, "__func__", None) or getattr(function, "__wrapped__", None) or getattr(function, "func", None)
        if inner is None or inner is function:
            return function
        function = inner


def signature(types, run, function):
    if sys.version_info >= (3, 14):
        import annotationlib
        found = inspect.signature(run, annotation_format=annotationlib.Format.FORWARDREF)
    else:
        found = inspect.signature(run)
    known = hints(function)
    parameters = []
    for p in found.parameters.values():
        described = {"name": p.name, "kind": KINDS[p.kind]}
        if p.annotation is not p.empty:
            described["type"] = types.of(known.get(p.name, p.annotation))
        if p.default is not p.empty:
            described["default"] = default(p.default)
        parameters.append(described)
    if found.return_annotation is found.empty:
        return parameters, None
    return parameters, types.of(known.get("return", found.return_annotation))


def doc(task, function):
    text = getattr(function, "__doc__", None)
    if not text or function is unwrapped(base().run):
        text = vars(type(task)).get("__doc__")
    return inspect.cleandoc(text) if isinstance(text, str) else ""


def place(function):
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    path = code.co_filename
    if os.path.isabs(path):
        relative = os.path.relpath(path)
        path = os.path.basename(path) if relative.startswith(os.pardir) else relative
    return "%s:%d" % (path, code.co_firstlineno)


def base():
    from celery.app.task import Task
    return Task


def methods(task):
    """Methods that the task's class has of its own: nothing in Go calls them."""
    own = [name for name in METHODS if getattr(type(task), name, None) is not getattr(base(), name, None)]
    return ["%s (%s)" % (name, place(unwrapped(getattr(type(task), name)))) for name in own]


def options_of(app, task):
    """The options that are not as they are for every task of the app."""
    configured = dict(base().from_config)
    found = {}
    for name in OPTIONS:
        value = getattr(task, name, USUAL.get(name))
        if name in configured:
            usual = app.conf.get(configured[name])
        else:
            usual = USUAL.get(name, getattr(base(), name, None))
        if value is usual or value == usual or name in ("acks_on_failure", "acks_on_timeout") and usual is None:
            continue
        found[name] = option(value)
    both = found.get("acks_on_failure_or_timeout")
    for name in ("acks_on_failure", "acks_on_timeout"):
        if both is not None and found.get(name) == both:
            del found[name]
    return found


def option(value):
    if value is None or type(value) in (bool, int, str) or type(value) is float and math.isfinite(value):
        return value
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    if isinstance(value, (list, tuple, set, frozenset)) and value and all(isinstance(item, type) for item in value):
        return {"text": "(%s,)" % ", ".join(item.__name__ for item in value)}
    return {"text": shown(value)}


def default(value):
    """A default as Python source; with its value, if that can be read in Go."""
    value = getattr(value, "value", value) if is_enum(value) else value
    source = literal(value, 0)
    if source is None:
        return {"source": shown(value)}
    return {"source": source, "literal": True, "value": json.loads(json.dumps(value))}


def is_enum(value):
    import enum
    return isinstance(value, enum.Enum)


def shown(value):
    """What a value looks like, in few words."""
    try:
        text = value.__name__ if isinstance(value, type) else repr(value)
    except Exception:
        text = object.__repr__(value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:79] + "\u2026"


def literal(value, depth):
    """Source of what tasks.Params reads; None: there is none."""
    kind = type(value)
    if value is None or kind is bool or kind is float and math.isfinite(value):
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() < 10000 else None
    if kind is str:
        plain = all(c.isprintable() or c in "\n\t" for c in value)
        return json.dumps(value, ensure_ascii=False) if plain else repr(value)
    if depth > 50:
        return None
    if kind is dict:
        pairs = [(literal(k, depth + 1), literal(v, depth + 1)) for k, v in value.items() if type(k) is str]
        if len(pairs) < len(value) or any(v is None for _, v in pairs):
            return None
        return "{%s}" % ", ".join("%s: %s" % pair for pair in pairs)
    if kind in (list, tuple):
        items = [literal(item, depth + 1) for item in value]
        if None in items:
            return None
        return "[%s]" % ", ".join(items)
    return None
