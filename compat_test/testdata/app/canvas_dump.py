"""Tells what canvases have left in Redis, with names in the place of ids; of results in SQL their states.

canvas_dump.py SENT, where SENT is a file {"<producer>": {"<case>": <result tuple>}},
prints {"<producer>": {"<case>": {"<key>": [{"<field>": <value>}]}}}. A task's name is its tag; what has
none is named by its place in the tree of results.
"""
import collections
import json
import os
import re
import sys

import redis
from celery.exceptions import ChordError
from celery.result import GroupResult, result_from_tuple

from tapp import app

UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TAG = re.compile(r"""\\*["']tag\\*["']: \\*["']([^"'\\]*)""")  # JSON in JSON, or a repr in it
META = "celery-task-meta-"
IN_REDIS = os.environ["BACKEND"].startswith("redis")
r = IN_REDIS and redis.Redis.from_url(os.environ["BACKEND"], decode_responses=True)
journal = redis.Redis.from_url(os.environ["JOURNAL"], decode_responses=True)


class Names(dict):
    """The name of each id."""

    def add(self, id, name):
        self.setdefault(id, name)

    def tasks(self, records):
        """By the tag in their arguments."""
        for id, doc in records.items():
            tag = TAG.search(json.dumps(doc.get("kwargs")))
            if tag:
                self.add(id, tag.group(1) if doc["name"].startswith("canvas.") else "%s %s" % (tag.group(1), doc["name"]))

    def tree(self, tuple, path):
        """By their place in a result tuple."""
        if not tuple:
            return
        (id, parent), members = tuple
        self.tree(parent, path + "<")
        for n, member in enumerate(members or ()):
            self.tree(member, "%s[%d]" % (path, n))
        if members is not None:
            self.group(id, path, [m[0][0] for m in members])
        self.add(id, path)

    def group(self, id, path, members):
        self.add(id, "%s|group(%s)" % ("|".join(path.split("|")[:2]), ", ".join(sorted({short(self.name(m)) for m in members}))))

    def families(self, records):
        """By who has published them; groups by their members."""
        for id in sorted(records, key=self.name):
            for n, child in enumerate(records[id].get("children") or ()):
                self.tree(child, "%s>%d" % (self.name(id), n))
        members = collections.defaultdict(list)
        for id, doc in records.items():
            if doc.get("group_id"):
                members[doc["group_id"]].append(id)
        for group, ids in members.items():
            self.group(group, self.name(ids[0]), ids)

    def name(self, id):
        return self.get(id, "?")

    def replace(self, text):
        return UUID.sub(lambda m: self.name(m.group()), text)


def short(name):
    return name.split("|", 2)[-1]


def rows():
    """The records in SQL, as Celery reads them."""
    if hasattr(app.backend, "TaskModel"):  # django-celery-results
        ids = app.backend.TaskModel._default_manager.values_list("task_id", flat=True)
    else:
        with app.backend.ResultSession() as session:
            ids = [row.task_id for row in session.query(app.backend.task_cls)]
    records = {id: app.backend.get_task_meta(id) for id in ids}
    for doc in records.values():
        doc.setdefault("name", doc.get("task_name"))
        doc.setdefault("kwargs", doc.get("task_kwargs"))
    return records


def row(doc):
    result = doc["result"]
    fields = {"status": doc["status"], "result": repr(result) if isinstance(result, Exception) else result, "date_done": bool(doc["date_done"])}
    if not isinstance(result, ChordError):  # django-celery-results leaves out theirs
        fields["traceback"] = bool(doc["traceback"])
    return fields


def record(doc):
    doc["date_done"] = bool(doc.get("date_done"))
    doc["traceback"] = None if doc["traceback"] is None else bool(doc["traceback"])
    return doc


def value(key, kind):
    if kind == "string":
        doc = json.loads(r.get(key))
        return record(doc) if META in key else {"value": doc}
    if kind == "zset":
        return {"members": [[score, json.loads(m)] for m, score in r.zrange(key, 0, -1, withscores=True)]}
    if kind == "set":
        return {"members": list(r.smembers(key))}
    return {"kind": kind}


def describe(result):
    """What a Python client sees."""
    if isinstance(result, GroupResult):
        return [describe(member) for member in result.results]
    state, value = result.state, result.result
    return [state, repr(value) if isinstance(value, Exception) else value]


def main(sent):
    # The .c of a chord that is done goes by itself, soon.
    keys = [k for k in r.keys("*") if k.startswith("celery-task") and not k.endswith(".c")] if IN_REDIS else []
    kinds = {k: r.type(k) for k in keys}
    records = {k[len(META):]: json.loads(r.get(k)) for k in keys if k.startswith(META)} if IN_REDIS else rows()
    names = Names()
    names.tasks(records)
    for producer, cases in sent.items():
        for case, tuple in cases.items():
            if isinstance(tuple, list):
                names.tree(tuple, "%s|%s|result" % (producer, case))
    names.families(records)
    names.families(records)
    out = {producer: {} for producer in sent}

    def note(key, fields):
        key, text = names.replace(key), names.replace(json.dumps(fields, sort_keys=True))
        for producer in sent:
            case = re.search(r"%s\|([^|]*)" % producer, key) or re.search(r"%s\|([^|\"\\]*)\|" % producer, text)
            if case:
                keys = out[producer].setdefault(case.group(1), {})
                keys.setdefault(key.replace(producer + "|", ""), []).append(text.replace(producer + "|", ""))
                return
        raise ValueError("nobody has sent " + key)

    for key in keys:
        ttl = r.ttl(key)
        fields = value(key, kinds[key])
        fields["(ttl)"] = "%d hours" % round(ttl / 3600) if ttl > 0 else ttl
        if kinds[key] == "set":
            fields["members"] = sorted(names.replace(m) for m in fields["members"])
        if kinds[key] == "zset":  # what has one score is in the order of ids
            fields["members"].sort(key=lambda m: (m[0], names.replace(json.dumps(m))))
        note(key, fields)
    for id, doc in {} if IN_REDIS else records.items():
        if not names.name(id).startswith("?"):  # what maps call is cut short in rows
            note("row of " + id, row(doc))
    for producer, cases in sent.items():
        for case, tuple in cases.items():
            if isinstance(tuple, list):
                note("what Python reads of %s|%s" % (producer, case), {"value": describe(result_from_tuple(tuple, app))})
            elif tuple:
                note("refused %s|%s" % (producer, case), {"refused": True})
                print(case, tuple, file=sys.stderr)
    for tag, n in journal.hgetall("runs").items():
        if tag:  # else it was called by a map
            note("runs of " + tag, {"n": int(n)})
    for called in journal.lrange("errbacks", 0, -1):
        note("errback called " + json.loads(called)[0], {"with": json.loads(called)})
    for cases in out.values():
        for keys in cases.values():
            for key, texts in keys.items():
                keys[key] = [json.loads(text) for text in sorted(texts)]
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        main(json.load(file))
