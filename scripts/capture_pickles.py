#!/usr/bin/env python3
"""Captures pickles of plain data, and what they mean in kombu's JSON.

Usage: scripts/capture_pickles.py            (with .venv's Python and pytz installed in it)

Writes protocol/serializer/pickle/testdata/pickles.json. The same expressions are pickled by the
Python that runs this, with all its protocols, and by each interpreter that PICKLERS
names, separated by colons (2.7, 3.6, 3.8 and 3.13 were taken; what is the same bytes
is kept once). What other versions left in the file before stays in it.
"""
import base64
import json
import os
import subprocess
import sys

PRELUDE = r'''
from __future__ import unicode_literals
import base64, collections, datetime, decimal, json, pickle, sys, uuid
PY2 = sys.version_info[0] == 2
try:
    import pytz
except ImportError:
    pytz = None
try:
    from zoneinfo import ZoneInfo
except ImportError:
    ZoneInfo = None
try:
    import celery.canvas
    from celery import Celery, chain, chord, group
    app = Celery(set_as_current=True)
    sig = lambda name, *args, **kwargs: app.signature(name, args, kwargs)
except ImportError:
    pass
D = datetime
shared = ["a", "b"]
def pickles(cases):
    out = []
    for name, source in cases:
        try:
            value = eval(source)
        except Exception:
            continue
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            text = base64.b64encode(pickle.dumps(value, protocol)).decode("ascii")
            out.append((name, protocol, text))
    return out
'''

CASES = [
    ("none", "None"), ("true", "True"), ("false", "False"),
    ("ints", "[0, 1, -1, 255, 256, 65535, 65536, -32769, 2147483647, -2147483648, 2147483648, 2**63, -2**63, 2**64, -2**200, 10**300]"),
    ("floats", "[0.0, -0.0, 1.5, 1e300, -1e-300, float('inf'), float('-inf')]"), ("nan", "float('nan')"),
    ("text", "['', 'abc', 'h\\u00e9llo \\u4e2d\\u6587', 'line\\nline', 'back\\\\slash \\\\u0041', '\\0', 'x' * 300]"),
    ("astral", "'\\U0001f600'"), ("surrogates", "['caf\\udce9', '\\udc80\\udcff', {'k\\udce9': 1}]"),
    ("bytes", "[b'\\xff\\x00\\x80', b'\\xfe']"), ("text bytes", "[b'abc', b'']"), ("long bytes", "b'\\xfe' * 300"), ("bytearray", "bytearray(b'\\xff1')"),
    ("str", "{str('name'): str('value'), str('q'): str('quote\\' and \" \\\\ \\t')}"),
    ("list", "[1, [2, [3, []]]]"), ("long list", "list(range(1100))"),
    ("tuples", "[(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]"),
    ("dict", "collections.OrderedDict([('a', 1), ('b', {'c': None})])"), ("empty dict", "{}"),
    ("int keys", "{1: 'a', 2.5: 'b', True: 'c', None: 'd'}"), ("wide dict", "dict(('k%d' % i, i) for i in range(1050))"),
    ("sets", "[set(), set([1]), frozenset(['x']), frozenset()]"), ("set", "{'only'}"), ("shared", "[shared, shared, (shared,)]"),
    ("deque", "collections.deque([1, 2], 5)"), ("deque endless", "collections.deque([1, 2])"),
    ("defaultdict", "collections.defaultdict(list, {'a': [1]})"), ("counter", "collections.Counter('aab')"),
    ("datetime", "D.datetime(2030, 1, 2, 3, 4, 5, 678901)"), ("datetime plain", "D.datetime(1, 1, 1)"),
    ("fold", "D.datetime(2030, 1, 2, 3, 4, fold=1)"), ("utc", "D.datetime(2030, 1, 2, 3, 4, tzinfo=D.timezone.utc)"),
    ("offset", "D.datetime(2030, 1, 2, 3, 4, tzinfo=D.timezone(-D.timedelta(hours=9, minutes=30)))"),
    ("named offset", "D.datetime(2030, 1, 2, tzinfo=D.timezone(D.timedelta(hours=2), 'CEST'))"),
    ("pytz utc", "D.datetime(2030, 1, 2, tzinfo=pytz.UTC)"), ("pytz fixed", "D.datetime(2030, 1, 2, tzinfo=pytz.FixedOffset(90))"),
    ("pytz", "pytz.timezone('Europe/Berlin').localize(D.datetime(2030, 7, 2))"),
    ("pytz static", "pytz.timezone('Etc/GMT+5').localize(D.datetime(2030, 7, 2))"),
    ("zoneinfo", "[D.datetime(2024, m, 5, 6, tzinfo=ZoneInfo('Europe/Berlin')) for m in (1, 7)]"),
    ("zoneinfo twice", "[D.datetime(2024, 10, 27, 2, 30, fold=f, tzinfo=ZoneInfo('Europe/Berlin')) for f in (0, 1)]"),
    ("zoneinfo never", "[D.datetime(2024, 3, 31, 2, 30, fold=f, tzinfo=ZoneInfo('Europe/Berlin')) for f in (0, 1)]"),
    ("zoneinfo days", "[D.datetime(2024, 3, d, h, tzinfo=ZoneInfo('America/New_York')) for d in (9, 10, 11) for h in (0, 1, 3, 23)]"),
    ("date", "D.date(2030, 1, 2)"), ("time", "[D.time(1, 2, 3, 4), D.time(0)]"),
    ("aware time", "D.time(1, 2, tzinfo=D.timezone(D.timedelta(hours=-2)))"), ("zone time", "D.time(1, 2, tzinfo=ZoneInfo('Europe/Berlin'))"),
    ("timedelta", "[D.timedelta(1, 2, 3), D.timedelta(-1), D.timedelta(0), D.timedelta(microseconds=-1)]"),
    ("decimal", "[decimal.Decimal('1.10'), decimal.Decimal('-Infinity'), decimal.Decimal('1E+5')]"),
    ("uuid", "uuid.UUID('12345678-1234-5678-1234-567812345678')"), ("uuid safe", "uuid.UUID(int=2**128-1, is_safe=uuid.SafeUUID.safe)"),
    ("date keys", "{D.date(2030, 1, 2): 1}"),
    ("protocol 2", "((1, 'a'), {'k': (2,)}, {'callbacks': [sig('t.add', 1)], 'errbacks': None, 'chain': [sig('t.b')], 'chord': None})"),
    ("chain", "chain(sig('t.a', 1), sig('t.b'))"), ("group", "group([sig('t.a', 1), sig('t.b')])"),
    ("chord", "chord([sig('t.a', 1)], sig('t.b'))"), ("chunks", "celery.canvas.chunks(None, [(1,)], 2) if 0 else sig('t.c')"),
]

MEANING = r'''
from kombu.utils import json as kombu_json
def meaning(v):
    if isinstance(v, dict):
        names = {True: "true", False: "false", None: "null"}
        def key(k):
            if k is True or k is False or k is None:
                return names[k]
            return k if isinstance(k, (str, int, float)) else str(k)
        return {key(k): meaning(x) for k, x in v.items()}
    if isinstance(v, (list, tuple, set, frozenset, collections.deque)):
        return [meaning(x) for x in v]
    if isinstance(v, D.timedelta):
        return v.total_seconds()
    if isinstance(v, bytearray):
        return bytes(v)
    return v
def load(name, version, text):
    if version == "2.7":  # where a str is what bytes are here
        value = eval(dict(CASES)[name])
        return [x.decode() for x in value] if name == "text bytes" else value
    return pickle.loads(base64.b64decode(text))
print(json.dumps([kombu_json.dumps(meaning(load(*case))) for case in json.load(sys.stdin)]))
'''


def run(python, program, given=None):
    env = dict(os.environ, PYTHONHASHSEED="0", PYTHONWARNINGS="ignore")
    return json.loads(subprocess.run([python, "-c", program], input=json.dumps(given).encode(),
                                     stdout=subprocess.PIPE, check=True, env=env).stdout)


def main():
    cases = "\nCASES = " + repr(CASES)
    path = os.path.join(os.path.dirname(__file__), "..", "protocol", "serializer", "pickle", "testdata", "pickles.json")
    seen, out, versions = set(), [], set()
    for python in [sys.executable] + [p for p in os.environ.get("PICKLERS", "").split(":") if p]:
        version = run(python, "import sys, json; print(json.dumps('%d.%d' % sys.version_info[:2]))")
        versions.add(version)
        for name, protocol, text in run(python, PRELUDE + cases + "\nprint(json.dumps(pickles(CASES)))"):
            if text not in seen:
                seen.add(text)
                out.append({"Name": name, "Python": version, "Protocol": protocol, "Pickle": text})
    wanted = run(sys.executable, PRELUDE + cases + MEANING, [(c["Name"], c["Python"], c["Pickle"]) for c in out])
    for case, want in zip(out, wanted):
        case["Want"] = want
    if os.path.exists(path):
        with open(path) as f:
            out += [c for c in json.load(f) if c["Python"] not in versions and c["Pickle"] not in seen]
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in out) + "\n]\n")
    print("%d pickles" % len(out))


main()
