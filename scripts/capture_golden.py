#!/usr/bin/env python3
"""Captures what the Celery of this interpreter writes, for protocol/testdata.

Usage:  PYTHON scripts/capture_golden.py [--redis URL] [--out DIR]

It publishes a table of calls, reads the queue entries they leave, runs a worker on
another table and records every result document that worker publishes. Beside each
message stand the call's own arguments, so that a reader of the message can be tested
against what was asked for. Without --redis it starts a private redis-server.

The files go to DIR/celery-<version>/: messages.json, results.json,
versions.json and, for 5.7 and newer, texts.json. It runs with Celery 4.4 to 5.7 and Python 3.7 or newer; for 4.4:
pip install celery==4.4.7 'redis<5' 'importlib-metadata<5'.
"""
import argparse
import base64
import contextlib
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
import tempfile
import time
import types
import uuid
from datetime import date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal

import celery
import kombu
import redis
from celery import Celery, chain, chord, group, signature
from celery.exceptions import Reject, SoftTimeLimitExceeded
from celery.utils.saferepr import saferepr
from kombu.utils import json as kombu_json

VERSION = tuple(int(part) for part in celery.__version__.split(".")[:2])
ROOT = pathlib.Path(__file__).resolve().parent.parent


class OutOfStock(Exception):
    """An exception of the project's own."""


# The class must be importable by its name, or Celery stores a wrapper.
OutOfStock.__module__ = "shop.errors"
for module in "shop", "shop.errors":
    sys.modules[module] = types.ModuleType(module)
sys.modules["shop.errors"].OutOfStock = OutOfStock


def make_app(url, **settings):
    app = Celery("shop", broker=url, backend=url, set_as_current=True)
    app.conf.update(
        worker_hijack_root_logger=False, broker_connection_retry_on_startup=True,
        worker_enable_remote_control=True, worker_pool="solo", **settings)

    def task(fn=None, **options):
        return app.task(name="shop." + fn.__name__, **options)(fn) if fn else lambda f: task(f, **options)

    @task
    def add(x, y):
        return x + y

    @task
    def echo(*args, **kwargs):
        return [list(args), kwargs] if kwargs else (args[0] if len(args) == 1 else list(args))

    @task
    def value(name):
        return VALUES[name]

    @task
    def fail(kind, *args):
        raise ERRORS[kind](*args)

    @task(bind=True, max_retries=1)
    def again(self, countdown=0):
        raise self.retry(countdown=countdown, exc=KeyError("again"))

    @task(bind=True)
    def progress(self):
        self.update_state(state="PROGRESS", meta={"current": 1, "total": 10})
        return "done"

    @task(bind=True)
    def parent(self):
        add.apply_async((1, 1), task_id="child-of-" + self.request.id)

    @task
    def unserializable():
        return object()

    return app


ERRORS = {
    "ValueError": ValueError, "KeyError": KeyError, "OutOfStock": OutOfStock, "Exception": Exception,
    "SoftTimeLimitExceeded": SoftTimeLimitExceeded, "Reject": Reject, "ZeroDivisionError": ZeroDivisionError,
    "UnicodeError": UnicodeError,
}

# What tasks return and take. kombu before 5.3 writes no bytes, and the rest of the
# special types as plain strings.
VALUES = {
    "none": None, "true": True, "zero": 0, "negative": -7, "float": 1.5, "whole_float": 2.0, "tiny": 1e-07,
    "huge_float": 1e22, "nan": float("nan"), "infinity": float("-inf"), "big_int": 2**70,
    "text": "it's \"quoted\"\n\ttab \\ and \x7f", "unicode": "é 中文 😀", "empty": "", "list": [1, [2, [3]], {}],
    "dict": {"a": 1, "b": [1.0, None], "ключ": "v"}, "tuple": (1, "a"),
    "datetime": datetime(2030, 1, 2, 3, 4, 5, 678900, tzinfo=timezone.utc),
    "naive": datetime(2030, 1, 2, 3, 4, 5),
    "offset": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    "date": date(2030, 1, 2), "time": clock(3, 4, 5, 678901), "decimal": Decimal("1.10"),
    "uuid": uuid.UUID("0123456789abcdef0123456789abcdef"),
}
if VERSION >= (5, 3):
    VALUES.update(bytes=b"it's text \\ \n", binary=b"\xff\x00\x80")


# ---- messages ----------------------------------------------------------------------

def dumps(value):
    return kombu_json.dumps(value)


def utc(moment):
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def wanted(name, args=(), kwargs=None, **fields):
    """What a reader must find; args and kwargs as JSON texts."""
    fields.update(name="shop." + name, args=dumps(list(args)), kwargs=dumps(kwargs or {}))
    return fields


def message_calls(app):
    """Yields name, text of the call, the call itself and what its entries must say."""
    t = {name.split(".")[1]: task for name, task in app.tasks.items() if name.startswith("shop.")}
    add, echo = t["add"], t["echo"]
    v2 = app.conf.task_protocol == 2
    stamps = indexes = VERSION >= (5, 3)

    def simple(name, text, want=None, **options):
        want = dict(wanted("add", (2, 3)), **want or {})
        yield name, "add.apply_async((2, 3)%s)" % text, lambda: add.apply_async(
            (2, 3), task_id="id-" + name, **options), [dict(want, id="id-" + name)]

    yield "delay", "add.delay(2, 2)", lambda: add.delay(2, 2), [wanted("add", (2, 2), retries=0, priority=0)]
    yield "send_task", "app.send_task('other.task', (1,))", lambda: app.send_task("other.task", (1,)), [
        dict(wanted("add", (1,)), name="other.task")]
    yield ("kwargs", "echo.delay('a', k='é', n=None)", lambda: echo.delay("a", k="é", n=None),
           [wanted("echo", ("a",), {"k": "é", "n": None})])
    for name, value in sorted(VALUES.items()):
        yield ("arg_" + name, "echo.delay(%r)" % (value,), lambda v=value: echo.delay(v), [wanted("echo", (value,))])

    naive = datetime(2030, 1, 2, 3, 4, 5, 678900)
    aware = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    yield from simple("countdown", ", countdown=60", {"eta_in": 60}, countdown=60)
    yield from simple("eta_naive", ", eta=%r" % naive, {"eta": utc(naive.replace(tzinfo=timezone.utc))}, eta=naive)
    yield from simple("eta_aware", ", eta=%r" % aware, {"eta": utc(aware)}, eta=aware)
    yield from simple("expires_number", ", expires=300", {"expires_in": 300}, expires=300)
    yield from simple("expires_aware", ", expires=%r" % aware, {"expires": utc(aware)}, expires=aware)
    yield from simple("priority", ", priority=5", {"priority": 5}, priority=5)
    yield from simple("limits", ", time_limit=30, soft_time_limit=20.5", {"time_limit": 30, "soft_time_limit": 20.5},
                      time_limit=30, soft_time_limit=20.5)
    yield from simple("queue", ", queue='other'", {"routing_key": "other"}, queue="other")
    yield from simple("headers", ", headers={'x-trace': 'abc', 'n': 1.0}",
                      {"headers": {"x-trace": '"abc"', "n": "1.0"}}, headers={"x-trace": "abc", "n": 1.0})
    yield from simple("zlib", ", compression='zlib'", compression="zlib")
    yield from simple("bzip2", ", compression='bzip2'", compression="bzip2")
    yield from simple("pickle", ", serializer='pickle'", {
        "error": "content disallowed", "content_type": "application/x-python-serialize"}, serializer="pickle")
    yield from simple("retries", ", retries=2", {"retries": 2}, retries=2)
    if v2:
        yield from simple("shadow", ", shadow='pretty'", {"shadow": "pretty"}, shadow="pretty")
        ignored = {"ignore_result": True} if VERSION >= (5, 1) else {}
        yield from simple("ignore_result", ", ignore_result=True", ignored, ignore_result=True)

    def sig(*args):
        return signature("shop.add", args=args)

    yield from simple("link", ", link=add.s(10)", {"callbacks": ["shop.add"]}, link=sig(10))
    yield from simple("link_error", ", link_error=[…, …]", {"errbacks": ["shop.fail", "shop.echo"]},
                      link_error=[signature("shop.fail"), signature("shop.echo")])
    yield from simple("nested_link", ", link=(add.s(1) | add.s(2))", {"callbacks": ["celery.chain"]},
                      link=chain(sig(1), sig(2)))
    rest = {"chain": ["shop.add", "shop.add"]} if v2 else {"callbacks": ["shop.add"]}
    yield ("chain", "chain(add.s(1, 2), add.s(3), add.s(4))()", lambda: chain(sig(1, 2), sig(3), sig(4))(),
           [dict(wanted("add", (1, 2)), **rest)])
    member = {"has_group": True}
    indexed = [dict(wanted("add", (i, i)), **member, **({"group_index": i} if indexes else {})) for i in range(2)]
    yield "group", "group(add.s(0, 0), add.s(1, 1))()", lambda: group(sig(0, 0), sig(1, 1))(), indexed
    indexed = [dict(wanted("add", (i, i)), chord="shop.echo", group_index=i, **member) for i in range(2)]
    yield ("chord", "chord([add.s(0, 0), add.s(1, 1)])(echo.s())",
           lambda: chord([sig(0, 0), sig(1, 1)])(signature("shop.echo")), indexed)
    if stamps and v2:
        yield ("stamp", "s = add.s(2, 3); s.stamp(customer='c1', tags=['a', 'b']); s.apply_async()",
               lambda: stamped(sig(2, 3)), [wanted("add", (2, 3), stamped_headers=["customer", "tags"])])


def stamped(sig):
    sig.stamp(customer="c1", tags=["a", "b"])
    return sig.apply_async()


def capture_messages(url, protocol):
    """Publishes every call without a worker and takes what it left on the queues."""
    app = make_app(url, task_protocol=protocol)
    client = redis.Redis.from_url(url)
    cases = []
    for name, text, call, want in message_calls(app):
        client.flushdb()
        before = time.time()
        call()
        after = time.time()
        entries = []
        for key in sorted(key for key in client.keys() if client.type(key) == b"list"):
            for raw in reversed(client.lrange(key, 0, -1)):
                entries.append({"key": key.decode(), "raw": raw.decode()})
        assert len(entries) == len(want), (name, entries)
        for entry, fields in zip(pair(entries, want), want):
            fields.setdefault("protocol", protocol)
            entry["want"] = bounds(dict(fields), before, after)
            if VERSION >= (5, 3) and protocol == 2:
                entry["restored"] = restored(app, client, entry["raw"])
        cases.append({"name": name, "call": text, "entries": entries})
    return cases


def pair(entries, want):
    """Puts the entries of a group in the order of their expectations."""
    if len(want) == 1:
        return entries
    return sorted(entries, key=lambda entry: arguments(entry["raw"]))


def arguments(raw):
    body = json.loads(base64.b64decode(json.loads(raw)["body"]).decode())
    return body["args"] if isinstance(body, dict) else body[0]


def bounds(fields, before, after):
    """Turns "in so many seconds" into the interval the date must be in."""
    for name in ("eta", "expires"):
        seconds = fields.pop(name + "_in", None)
        if seconds is not None:
            fields[name + "_from"] = utc(datetime.fromtimestamp(int(before) + seconds, timezone.utc))
            fields[name + "_to"] = utc(datetime.fromtimestamp(int(after) + 1 + seconds, timezone.utc))
    return fields


def restored(app, client, raw):
    """The entry as kombu's restore of unacknowledged messages puts it back."""
    client.flushdb()
    payload = json.loads(raw)
    queue = payload["properties"]["delivery_info"]["routing_key"]
    with app.connection_for_write() as conn:
        channel = conn.default_channel
        with client.pipeline() as pipe:
            channel._do_restore_message(payload, "", queue, pipe)
            pipe.execute()
    key = client.keys(queue + "*")[0]
    return client.lrange(key, 0, -1)[0].decode()


# ---- results -----------------------------------------------------------------------

def result_calls(app):
    """Yields task, args, options; the task's id is the call's number and name."""
    for name in sorted(VALUES):
        yield "value", (name,), {}
    yield "fail", ("ValueError", "bad", 1), {}
    yield "fail", ("KeyError", "x"), {}
    yield "fail", ("Exception",), {}
    yield "fail", ("OutOfStock", "shop é", {"a": [1, None]}), {}
    yield "fail", ("SoftTimeLimitExceeded",), {}
    yield "fail", ("ZeroDivisionError", "division by zero"), {}
    yield "fail", ("Exception", "it's", 'a "quote"', "both ' and \"", "new\nline\té\x00\x7f\u200b"), {}
    yield "fail", ("Reject", "no", False), {}
    yield "again", (), {}
    yield "progress", (), {}
    yield "parent", (), {}
    yield "unserializable", (), {}
    yield "add", (1, 2), {"expires": datetime(2020, 1, 1, tzinfo=timezone.utc)}
    yield "add", (1,), {}
    yield "echo", ("in a group",), {"group_id": "the-group", "parent_id": "the-parent", "root_id": "the-root"}
    yield "nowhere", (), {}


def capture_results(url, settings):
    """Runs a worker with these settings and records all it publishes, by task."""
    app = make_app(url, **settings)
    client = redis.Redis.from_url(url)
    client.flushdb()
    listener = client.pubsub()
    listener.psubscribe("celery-task-meta-*")
    calls, waiting = {}, set()
    for number, (task, args, options) in enumerate(result_calls(app)):
        task_id = "r%02d-%s" % (number, args[0] if task in ("value", "fail") else task)
        calls[task_id] = {"task": "shop." + task, "args": dumps(list(args)), "records": []}
        if task == "fail":
            calls[task_id]["repr"] = repr(ERRORS[args[0]](*args[1:]))
        app.send_task("shop." + task, args, task_id=task_id, **options)
        # Celery before 5.7 stores nothing for a rejected task.
        if VERSION >= (5, 7) or "Reject" not in task_id:
            waiting.add(task_id)
    if settings.get("result_extended") and VERSION >= (5, 3):
        calls["stamped"] = {"task": "shop.add", "args": "[1, 2]", "records": []}
        waiting.add("stamped")
        sig = signature("shop.add", args=(1, 2))
        sig.stamp(customer="c1", tags=["a", "b"])
        sig.apply_async(task_id="stamped")
    with tempfile.TemporaryFile() as log:
        worker = subprocess.Popen(
            [sys.executable, __file__, "--redis", url, "--worker", json.dumps(settings)], stdout=log, stderr=log)
        deadline = time.time() + 60
        try:
            while waiting and time.time() < deadline and worker.poll() is None:
                note = listener.get_message(ignore_subscribe_messages=True, timeout=1)
                if not note:
                    continue
                record = note["data"].decode()
                task_id = note["channel"].decode()[len("celery-task-meta-"):]
                calls.setdefault(task_id, {"task": "shop.add", "args": "[1, 1]", "records": []})["records"].append(record)
                if json.loads(record)["status"] in ("SUCCESS", "FAILURE", "REVOKED"):
                    waiting.discard(task_id)
        finally:
            worker.terminate()
            worker.wait(20)
        if waiting:
            log.seek(0)
            sys.exit("no result for %s\n%s" % (sorted(waiting), log.read().decode()[-3000:]))
    return {"settings": settings, "tasks": scrub(calls)}


def scrub(calls):
    """Takes this machine's paths out of tracebacks; nothing else is edited."""
    text = json.dumps(calls)
    for path, name in ((os.path.dirname(celery.__path__[0]), "site-packages"), (os.path.dirname(os.__file__), "lib"),
                       (str(ROOT), "shop")):
        text = text.replace(json.dumps(path)[1:-1], name)
    return json.loads(text)


def serve(url, settings):
    app = make_app(url, **settings)
    argv = ["worker", "-l", "warning", "-P", "solo", "-c", "1", "--without-gossip", "--without-mingle", "-n", "w1@vm"]
    app.worker_main(argv)


# ---- texts -------------------------------------------------------------------------

REPRS = [
    [], {}, [1], [1, 2], [[1]], [[], {}, [[]]], [[[[1]]]], {"a": {"b": {"c": {"d": 1}}}}, [[1, [2, [3, [4]]]]],
    ["a", {"k": "v"}], ["it's"], ['dq"s'], ["back\\slash"], ["nl\nx\ttab"], ["é😀中"], [None, True, False],
    [1.0, 1.5, 1e22, 1e-07, 1e16, 123456789012345.0, float("nan"), float("inf"), float("-inf"), -0.0],
    [10**30, -5, 0], list(range(400)), ["x" * 3000], ["y" * 1023], ["y" * 1020, "z"], ["y" * 1021], ["y" * 1018, 1],
    {"k": "y" * 3000}, {"k": "y" * 3000, "l": 1}, {"k" * 3000: 1}, ["word " * 400], ["a" * 1100, "b"],
    [["a" * 1100], "b"], [["a" * 1100, 1], "b"], [[["a" * 1100, 1], 2], [3]], [10**1100], [10**1000, 5, [6]],
    {"a": ["b" * 1000, {"c": ["d" * 100, {"e": 1}]}], "f": 1}, ["é" * 1100], ["😀" * 600, "😀" * 600], ["'" * 1100],
    [[1] * 200, {"a": 1}, [2] * 200, {"b": [1, 2]}], ["a" * 1010, [[[1]]], 5], ["a" * 1015, {}, 5], ["a" * 1017, {}, 5],
    [list(range(300)), 7], {"a": list(range(300)), "b": 7}, [{str(i): i for i in range(200)}], "plain", "a " * 600, 5,
    1.5, None, True, [VALUES["datetime"], VALUES["naive"], VALUES["offset"]], [VALUES["date"], VALUES["time"]],
    [VALUES["decimal"], VALUES["uuid"]], [datetime(2030, 1, 2, 3, 4), datetime(2030, 1, 2, 3, 4, tzinfo=timezone.utc)],
    {"__type__": "datetime"}, {"__type__": 1, "__value__": 2, "x": 3}, ["tab\x00\x1b\x7f\x80\xa0\xad\u200b\ufeff\ue000"],
]
if VERSION >= (5, 3):
    REPRS += [[b"abc"], [b"it's", b"\xff\x00"], [b"z" * 1100], [b"\xff" * 1100]]

DATES = [
    "2030", "2030-01", "203001", "2030-13-01", "2030-02-29", "2028-02-29", "20300102", "2030-01-02", "2030-1-2",
    "2030-01-02T", "2030-01-02T0", "2030-01-02T03", "2030-01-02T0304", "2030-01-02T030405", "2030-01-02T03:04",
    "2030-01-02T03:04:05", "2030-01-02 03:04:05", "2030-01-02x03:04:05", "2030-01-02T03:04:5", "2030-01-02T03:0405",
    "2030-01-02T03:04:05.6", "2030-01-02T03:04:05,678901", "2030-01-02T03:04:05.678901234", "2030-01-02T03:04:05.",
    "2030-01-02T030405,5+0530", "2030-01-02T03:04:05Z", "2030-01-02T03:04:05z", "2030-01-02T03:04:05+02:00",
    "2030-01-02T03:04:05-0330", "2030-01-02T03:04:05+02", "2030-01-02T03:04:05+2", "2030-01-02T03:04:05+24:00",
    "2030-01-02T03:04:05+02:60", "2030-01-02T03:04:05 +02:00", "2030-01-02T03:04:05+02:00x", "2030-01-02T03+01:00",
    "2030-01-02T03:04+01:00", "2030-01-02T24:00", "2030-12-31T24:00:00", "2030-01-02T24:00:01", "2030-01-02T25:00",
    "2030-01-02T03:60", "2030-01-02T03:04:60", "2030-W01", "2030-W01-2", "2030W012", "2030W01", "2030-W0", "2030-W54",
    "2030-W01-8", "2030W01-2", "2030-123", "2030123", "2030-366", "2028-366", "2030-000", "0000-01-01", "0001-01-01",
    "9999-12-31T23:59:59.999999Z", "10000-01-01", "", " ", "abc", "not-a-date", "203", "2030-", "2030-01-", "2030-01-0",
    "2030-01-02T03:04:05+00:00", "2030-01-02T03:04:05-00:00", "2030-01-02T03:04:05.000000+00:00", "1234567890", "12345678",
    "2030-01-02T03:", "2030-01-02T03:04:", "2030-01-02T+01:00", "2030-01-02TZ", "2030-01-02T03:04:05.67.8",
    "2030/01/02", "02.01.2030", "2030-01-02T03:04:05é", "2030-01-02é03:04:05", "-030-01-02", "2030-01-02T03:04:05+ab:cd",
    "2030-01-02T03:04:05+01:0", "2030-01-02T03:04:05+01000", "2030-01-02T03:04:05+01:000",
]


def capture_reprs():
    reprs = []
    for value in REPRS:
        text = dumps(value)
        read = kombu_json.loads(text)
        case = {"json": text, "saferepr": saferepr(read, 1024), "repr": repr(read)}
        if isinstance(read, list):
            case["args"] = saferepr(tuple(read), 1024)
        reprs.append(case)
    return reprs


def capture_dates():
    """What a worker makes of an ETA; Celery before 5.3 reads fewer forms."""
    from celery.utils.time import maybe_iso8601, maybe_make_aware
    dates = []
    for text in DATES:
        try:
            dates.append({"text": text, "utc": utc_text(maybe_make_aware(maybe_iso8601(text)))})
        except (AttributeError, ValueError, TypeError, OverflowError) as exc:
            dates.append({"text": text, "error": str(exc)})
    return dates


def utc_text(moment):
    return moment.astimezone(timezone.utc).isoformat()


# ---- main --------------------------------------------------------------------------

@contextlib.contextmanager
def private_redis():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=folder, stdout=subprocess.DEVNULL)
        url = "redis://127.0.0.1:%d/0" % port
        try:
            for _ in range(100):
                with contextlib.suppress(redis.ConnectionError):
                    redis.Redis.from_url(url).ping()
                    break
                time.sleep(0.05)
            yield url
        finally:
            server.terminate()
            server.wait(10)


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=True)
    (folder / name).write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", help="URL of a Redis database to use; it is emptied")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "protocol" / "testdata")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return serve(options.redis, json.loads(options.worker))
    folder = options.out / ("celery-" + celery.__version__)
    with contextlib.ExitStack() as stack:
        url = options.redis or stack.enter_context(private_redis())
        write(folder, "messages.json", capture_messages(url, 2) + [
            dict(case, name=case["name"] + "_v1") for case in capture_messages(url, 1)])
        write(folder, "results.json", [
            capture_results(url, settings) for settings in (
                {}, {"result_extended": True, "task_track_started": True},
                {"timezone": "Asia/Kolkata", "enable_utc": False})])
    if VERSION >= (5, 7):
        write(folder, "texts.json", {"reprs": capture_reprs(), "dates": capture_dates()})
    write(folder, "versions.json", {
        "celery": celery.__version__, "kombu": kombu.__version__, "redis-py": redis.__version__,
        "python": platform.python_version()})


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # results that are still around would call a Redis that has gone
