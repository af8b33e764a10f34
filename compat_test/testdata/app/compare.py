"""Compares what two workers left in their Redis, key by key and field by field.

compare.py PYTHON_URL APIUM_URL prints [{"key", "field", "python", "apium"}].
"""
import json
import re
import sys

import redis

DATE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$")
META = b"celery-task-meta-"


def show(value):
    return "missing" if value is None else text(value)[:400]


def text(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def document(raw):
    """The fields of a result record, as comparable texts."""
    doc = json.loads(raw)
    fields = {"(order of fields)": list(doc)}
    for name, value in doc.items():
        if name == "date_done":
            value = value if value is None else bool(DATE.match(value)) or value
        elif name == "traceback":
            value = value if value is None else "some text" if value else ""
        fields[name] = value
    result = doc.get("result")
    if isinstance(result, dict) and "exc_type" in result:
        fields["(order of the exception)"] = list(result)
        del fields["result"]
        for name, value in result.items():
            fields["result." + name] = value
    # json.dumps writes the separators, escapes and numbers that Celery writes.
    fields["(encoding)"] = json.dumps(doc) == text(raw) or text(raw)
    return {name: text(json.dumps(value, sort_keys=True)) for name, value in fields.items()}


def value(r, key):
    kind = r.type(key).decode()
    fields = {"(type)": kind}
    if kind == "string":
        raw = r.get(key)
        fields.update(document(raw) if META in key else {"value": text(raw)})
    elif kind == "list":
        fields["items"] = text([text(i) for i in r.lrange(key, 0, -1)])
    elif kind == "set":
        fields["members"] = text(sorted(text(m) for m in r.smembers(key)))
    elif kind == "hash":
        fields.update({text(k): text(v) for k, v in r.hgetall(key).items()})
    elif kind == "zset":
        fields["members"] = text([text(m) for m in r.zrange(key, 0, -1)])
    ttl = r.ttl(key)
    fields["(ttl)"] = "%d minutes" % (-(-ttl // 300) * 5) if ttl > 0 else str(ttl)  # it may be read minutes later
    return fields


def main(python_url, apium_url):
    servers = [redis.Redis.from_url(url) for url in (python_url, apium_url)]
    out = []
    for key in sorted(set().union(*(r.keys("*") for r in servers))):
        left, right = [value(r, key) if r.exists(key) else None for r in servers]
        if left is None or right is None:
            out.append({"key": text(key), "field": "(key)", "python": show(left), "apium": show(right)})
            continue
        for field in sorted(set(left) | set(right)):
            if left.get(field) != right.get(field):
                out.append({"key": text(key), "field": field, "python": show(left.get(field)), "apium": show(right.get(field))})
    json.dump(out, sys.stdout)


main(*sys.argv[1:])
