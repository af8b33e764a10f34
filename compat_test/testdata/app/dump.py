"""Prints everything in the Redis of BROKER in comparable form: {key: {field: text}}.

With a message that a retry has published stands when its task ran, as the journal in JOURNAL has it.
What differs with every process becomes its kind.
"""
import base64
import collections
import json
import os
import re

import redis

META = "celery-task-meta-"
DATE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$")
ran = {}  # when each attempt of each task has run


def shown(key, value):
    """A field's text, in which the task's id does not tell it from others."""
    text = value if isinstance(value, str) else json.dumps(value)
    match = re.search("(?:%s|journal | of )(.*?)(?: #\\d+)?$" % META, key)
    return text.replace(json.dumps(match[1])[1:-1], "<id>") if match else text


def traceback(text):
    last = re.sub(r"Retry at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00", "Retry at N", text.strip().splitlines()[-1])
    return ["Traceback (most recent call last):" in text, last]


def record(raw):
    doc = json.loads(raw)
    fields = {"(order)": list(doc), "(encoding)": json.dumps(doc) == raw or raw}
    for name, value in doc.items():
        if name == "date_done":
            value = value if value is None else bool(DATE.match(value)) or value
        elif name == "traceback" and value:
            value = traceback(value)
        elif name == "result" and isinstance(value, dict) and set(value) == {"pid", "hostname"}:
            value = {"pid": type(value["pid"]).__name__, "hostname": value["hostname"]}
        fields[name] = value
    return fields


def message(raw):
    """The id of the task of a message, and the fields of the message."""
    doc = json.loads(raw)
    body = base64.b64decode(doc["body"]).decode()
    headers, properties = dict(doc["headers"]), dict(doc["properties"])
    fields = {"(order)": list(doc), "(order of headers)": list(headers), "(order of properties)": list(properties)}
    for name in ("content-encoding", "content-type"):
        fields[name] = doc[name]
    for name, value in zip(("args", "kwargs", "embed"), json.loads(body)):
        fields[name] = value
    fields["(encoding)"] = json.dumps(json.loads(body)) == body or body
    if (headers["id"], headers["retries"] - 1) in ran:
        fields["(ran)"] = ran[headers["id"], headers["retries"] - 1]
    headers["origin"] = bool(re.match(r"gen\d+@\S+$", headers["origin"])) or headers["origin"]
    properties["delivery_tag"] = type(properties["delivery_tag"]).__name__
    if "origin" in properties:
        properties["origin"] = bool(re.match(r"gen\d+@\S+$", properties["origin"])) or properties["origin"]
    if "expiration" in properties:
        properties["expiration"] = bool(re.match(r"\d+$", properties["expiration"])) or properties["expiration"]
    if not properties["reply_to"].startswith("reply"):
        properties["reply_to"] = bool(re.match(r"[0-9a-f-]{36}$", properties["reply_to"])) or properties["reply_to"]
    fields.update({"header " + k: v for k, v in headers.items()})
    fields.update({"property " + k: v for k, v in properties.items()})
    return headers["id"], fields


def claimed(r, key):
    """Whether this is who works on a chord. When it has failed Celery leaves that to expire, 6 seconds after the claim: what is
    found of it depends on when one looks."""
    return r.get(key) != "done" and r.pttl(key) != -1


def main():
    r = redis.Redis.from_url(os.environ["BROKER"], decode_responses=True)
    journal = redis.Redis.from_url(os.environ["JOURNAL"], decode_responses=True)
    out = {}
    runs = collections.defaultdict(list)
    for entry in journal.lrange("ran", 0, -1):
        task_id, retries, redelivered, at = json.loads(entry)
        ran[task_id, retries] = at
        runs[task_id].append([retries, redelivered])
    for task_id, attempts in runs.items():
        out["journal " + task_id] = {"runs": attempts}
    for task_id in journal.lrange("caught", 0, -1):
        out["journal " + task_id]["caught"] = True

    def add(where, raw, counts=collections.Counter()):
        task_id, fields = message(raw)
        counts[where, task_id] += 1
        out["%s %s #%d" % (where, task_id, counts[where, task_id])] = fields

    for key in r.keys("*"):
        kind = r.type(key)
        if key.startswith(META):
            out[key] = record(r.get(key))
            out[key]["(ttl)"] = round(r.ttl(key) / 3600)
        elif kind == "list":
            for raw in reversed(r.lrange(key, 0, -1)):
                add("message in %r of" % key, raw)
        elif key == "unacked":
            for raw in r.hvals(key):
                wrapped = json.loads(raw)
                add("unacked %s of" % wrapped[1:], json.dumps(wrapped[0]))
        elif kind == "set":
            out[key] = {"members": sorted(r.smembers(key))}
        elif kind == "zset":
            if key != "unacked_index":
                out[key] = {"members": r.zrange(key, 0, -1)}
        elif kind == "hash":
            out[key] = {"fields": sorted(r.hkeys(key))}
        elif kind == "string" and not (key.endswith(".c") and claimed(r, key)):
            out[key] = {"value": r.get(key)}
    print(json.dumps({key: {f: shown(key, v) for f, v in fields.items()} for key, fields in out.items()}))


main()
