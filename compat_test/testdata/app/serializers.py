"""Sends tasks in the configured serializer, with every compression, and prints what
the client reads of their results; values as kombu's JSON, tuples and sets as lists."""
import datetime
import decimal
import json
import sys
import uuid

from celery import chain, chord
from kombu.utils import json as kombu_json

import shoperrors  # noqa: F401  makes its classes known to the client
import tapp

UTC = datetime.timezone.utc
values = {
    "none": None, "int": 7, "big": 2**63 - 1, "float": 2.0, "text": "您好 😀\n'\"\\ yes", "list": [1, [2, {"a": None}]],
    "bytes": b"\xff\x00", "ambiguous": ["yes", "no", "12", "1e3", "2030-01-02", "~", "", " a: b"],
}
if tapp.app.conf.task_serializer in ("yaml", "pickle"):
    values["datetime"] = datetime.datetime(2030, 1, 2, 3, 4, 5, 678901)
    values["aware"] = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    values["offset"] = datetime.datetime(2030, 1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=-9.5)))
    values["date"] = datetime.date(2030, 1, 2)
    values["huge"] = 10**50
if tapp.app.conf.task_serializer == "pickle":
    values["decimal"] = decimal.Decimal("1.10")
    values["uuid"] = uuid.UUID(int=7)
    values["time"] = datetime.time(1, 2, 3)
    values["tuple"] = (1, (2,))
    values["set"] = {1}
    values["timedelta"] = datetime.timedelta(days=1, microseconds=1)


def plain(v):
    if isinstance(v, (set, tuple, list)):
        return [plain(x) for x in v]
    if isinstance(v, datetime.timedelta):
        return v.total_seconds()
    return v


def raised(result):
    try:
        return ["returned", kombu_json.dumps(result.get(timeout=tapp.PATIENCE))]
    except Exception as exc:
        return [type(exc).__module__, type(exc).__name__, [str(x) for x in exc.args], result.state]


out = {"wrong": [], "raised": {}}
for compression in (None, "zlib", "bzip2", "lzma", "zstd", "brotli"):
    sent = {name: tapp.same.apply_async([value], compression=compression) for name, value in values.items()}
    for name, result in sent.items():
        got = result.get(timeout=tapp.PATIENCE)
        if kombu_json.dumps(plain(values[name])) != kombu_json.dumps(got):
            out["wrong"].append([compression, name, repr(got)])
add = tapp.add
if tapp.app.conf.task_serializer != "yaml":  # Celery cannot write a signature in YAML
    out["chain"] = chain(add.s(1, 2), add.s(10), add.s(100)).delay().get(timeout=tapp.PATIENCE)
    out["chord"] = chord([add.s(1, 2), add.s(3, 4)], tapp.same.s()).delay().get(timeout=tapp.PATIENCE)
for name, result in {
    "value error": tapp.fail.delay("bad", 1), "key error": tapp.throw.delay("builtins", "KeyError", "k"),
    "decode error": tapp.throw.delay("builtins", "UnicodeDecodeError", "one argument only"),
    "importable": tapp.throw.delay("shoperrors", "OutOfStock", "pen", 3), "hidden": tapp.throw_hidden.delay("unseen"),
    "unknown": tapp.app.send_task("tapp.no_such_task"), "expired": tapp.same.apply_async([1], expires=-60),
    "unencodable": tapp.app.send_task("tapp.decimal"),
}.items():
    out["raised"][name] = raised(result)
json.dump(out, sys.stdout)
