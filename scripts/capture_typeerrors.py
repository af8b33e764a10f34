#!/usr/bin/env python3
"""Writes tasks/testdata/calls.json: what Python does with parameter lists and calls.

Every call goes through Celery's own task tracer. A call that binds is recorded with the
values its parameters got, one that does not with the text of its TypeError.

The words are CPython 3.11's, which differ a little from those of other versions:
run it with .venv/bin/python made by Python 3.11.
"""
import json
import pathlib
import sys

import celery
from celery.app.trace import build_tracer

SIGNATURES = [
    "", "x", "x, y", "x, y, z", "x, y, z, w", "x=1", "x, y=2", "x, y=2, z=3", "x, /", "x, y, /", "x, /, y",
    "x, y=2, /", "x, y=2, /, z=3", "*args", "x, *args", "x, y=2, *args", "**kwargs", "x, **kwargs",
    "x, /, **kwargs", "*args, **kwargs", "x, y=2, *args, z=3, **kwargs", "*, x", "*, x=1", "*, x, y",
    "*, x, y, z", "x, *, y", "x, *, y=2", "x, y=2, *, z", "x, *args, y", "x, *args, y, z", "x, y, /, z, *, w",
    "x, *, y, **kwargs", "*args, x, y=2", "x=None, y=None",
]

# Parameter lists that parse, and how; or do not.
PARSE = SIGNATURES + [
    "x,", " x , y ", "x\n,\ny # comment\n", "x, # x, y\n y", "x: int", "x: int = 3", "x: 'a, b=c' = 4",
    "x: Dict[str, int] = {}", "x: int | None = None, y: Callable[[int], str] = None", "*args: int, **kwargs: str",
    "x: lambda: 0", "été=1", "_x, y1", "x=0x1f, y=0o17, z=0b101", "x=1_000", "x=017", "x=00", "x=1__0", "x=1_",
    "x=1.", "x=.5", "x=1e5, y=1E-5, z=1_0.5e1_0", "x=1e999", "x=-1, y=+2, z=-1.5", "x=- 1",
    "x=1j", "x=1.5.2", "x=1e", "x=0x", "x=123456789012345678901234567890", "x=-0", "x=-0.0", "x=2.0",
    "x=None, y=True, z=False", "x=none", "x=Nonesuch", "x=NoneType", "x='a'", 'x="a"', "x='it\\'s'", "x='\"'",
    "x='a\\nb\\tc\\\\d'", "x='\\x41\\u00e9\\U0001f600\\101\\0'", "x='\\q'", "x=r'\\n\\''", "x=u'a'", "x='é中'",
    "x='a", "x='a\nb'", "x='\\x4'", "x='\\u12'", "x='\\U00110000'", "x='a\\\nb'", "x=''", "x=\"\"",
    "x=[]", "x=[1, 2]", "x=[1, 2,]", "x=[1 2]", "x=[,]", "x=()", "x=(1)", "x=(1,)", "x=(1, 2)", "x=(,)", "x=((1),)",
    "x={}", "x={'a': 1}", "x={'a': [1, (2, 3)], \"b\": {}}", "x={'a': 1,}", "x={'a'}", "x={'a' 1}", "x={,}",
    "x=[", "x=(1", "x={'a': 1", "x=", "=1", "x=1 2", "x y", "x, x", "x, *x", "x, **x", "*a, *b", "*", "*,", "*, *a",
    "*, **k", "**k, x", "**k, *a", "**k, **l", "**k,", "*a,", "*a=1", "**k=1", "/", "/, x", "x, /, y, /", "*, x, /",
    "*a, /", "x=1, y", "x=1, /, y", "x=1, *, y", "x=1, *a, y", "x, /,", "1x", "x-y", "for", "None", "x, class", "x:",
    "x: = 1", "*, x,", ",", "x,,y", "x; y", "(x)", "x)", "x: int)", "self", "print", "match, case, type",
]

CALLS = [
    ([], {}), ([1], {}), ([1, 2], {}), ([1, 2, 3], {}), ([1, 2, 3, 4], {}), ([1, 2, 3, 4, 5], {}),
    ([], {"x": 1}), ([], {"y": 2}), ([], {"x": 1, "y": 2}), ([], {"y": 2, "x": 1}), ([], {"x": 1, "y": 2, "z": 3}),
    ([], {"w": 4}), ([1], {"x": 1}), ([1], {"y": 2}), ([1], {"z": 3}), ([1], {"q": 5}), ([1], {"y": 2, "q": 5}),
    ([1], {"q": 5, "y": 2}), ([1, 2], {"y": 2}), ([1, 2], {"z": 3}), ([1, 2, 3], {"y": 2}), ([1, 2, 3], {"z": 3}),
    ([1, 2, 3], {"q": 5, "r": 6}), ([], {"args": [1]}), ([], {"kwargs": {}}), ([], {"": 1}), ([1], {"é": 1, "x": 2}),
    ([1, 2, 3, 4, 5], {"w": 4}), ([None], {"y": None}), ([[1, [2]]], {"y": {"k": []}}), ([1, 2], {"it's": 1}),
    (5, {}), (True, {}), (1.5, {}),
]

app = celery.Celery("shop", set_as_current=False)


def define(params):
    """Makes the task shop.tasks.add(params), which returns what its parameters got."""
    scope = {"__name__": "shop.tasks"}
    exec(f"from __future__ import annotations\ndef add({params}\n): return dict(locals())", scope)
    return scope["add"]


def call(task, args, kwargs):
    tracer = build_tracer(task.name, task, app=app, eager=True)
    result = tracer("an-id", args, kwargs, {"id": "an-id", "is_eager": True})
    if result.info is None:
        return {"bound": result.retval}
    error = result.info.retval
    if not isinstance(error, TypeError):
        raise error
    return {"error": str(error)}


def parse(params):
    try:
        function = define(params)
    except (SyntaxError, NameError, ValueError) as error:
        return {"params": params, "error": f"{type(error).__name__}: {error}"}
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    values = dict(zip(names[code.co_argcount - len(defaults):], defaults)) | (function.__kwdefaults__ or {})
    try:
        values = json.loads(json.dumps(values))
    except TypeError:
        return {"params": params, "error": "the default has no JSON form"}
    return {
        "params": params, "names": list(names), "pos_only": code.co_posonlyargcount, "pos": code.co_argcount,
        "defaults": values,
    }


def main():
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"capture_typeerrors.py: the error texts to capture are those of Python 3.11, not {sys.version.split()[0]}")
    calls = []
    for params in SIGNATURES:
        task = app.task(name="shop.tasks.add")(define(params))
        for args, kwargs in CALLS:
            calls.append({"params": params, "args": args, "kwargs": kwargs} | call(task, args, kwargs))
        del app.tasks["shop.tasks.add"]
    document = {
        "python": sys.version.split()[0], "celery": celery.__version__,
        "parse": [parse(params) for params in PARSE], "calls": calls,
    }
    path = pathlib.Path(__file__).parent.parent / "tasks" / "testdata" / "calls.json"
    lines = []
    for key, value in document.items():
        if isinstance(value, list):
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            lines.append(f'"{key}": [\n{rows}\n]')
        else:
            lines.append(f'"{key}": {json.dumps(value)}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path}: {len(document['parse'])} parameter lists, {len(calls)} calls")


main()
