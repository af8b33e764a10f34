"""Puts what a worker has left in a form that is the same in every run: names in the place of
ids, kinds in the place of instants, process numbers and the like."""
import collections
import datetime
import json
import re
import sys

import billiard

META, GROUP = "celery-task-meta-", "celery-taskset-meta-"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6}|,\d{3})?(\+00:00|Z)?")
VARIES = [
    (re.compile(r"(\[Previous line repeated )\d+"), r"\1N"),
    (re.compile(r"(<Unrepresentable <class '[\w.]+'>: \w+\('[^']*'\)) .*>", re.S), r"\1 …>"),
    (re.compile(r'  File "[^"]*(billiard/pool|apium child).py>?", line \d+, in (soft_timeout_sighandler|soft_limit)\n'), "  Soft limit\n"),
    (re.compile(r"\b(soft_timeout_sighandler|soft_limit)\b"), "soft limit"),
    (re.compile(r"(Task handler raised error: .*?)\n.*", re.S), r"\1"),
    (re.compile(r"\b0x[0-9a-f]{6,}"), "0x"),
    (re.compile(r"\b(succeeded in|ignored in) [\d.e-]+s"), r"\1 Ns"),
    (re.compile(r"\b((?:Fork|Spawn)PoolWorker)-\d+(:\d+)?"), r"\1-N"),
    (re.compile(r"\bJob: \d+"), "Job: N"),
    (re.compile(r"\b\d+KB"), "N KB"),
    (re.compile(r"redis://[\w.:*@]+:\d+"), "redis://…"),
    (re.compile(r"amqp://[\w.:*@]+:\d+/+\w+"), "amqp://…"),
    (re.compile(r"\bpid:? ?\d+"), "pid:N"),
    (re.compile(r"\bgen\d+@[\w.-]+"), "gen@host"),
    (re.compile(r"^\d+\.\d{5,}$"), "N"),
    # What is too long is cut off, at times within an id. Records have it all.
    (re.compile(r"(\{'hostname': .{200}).*\.\.\..*", re.S), r"\1…"),
]
NOISE = ("timestamp", "clock", "local_received", "runtime", "utcoffset")
HEADER = re.compile(r"^(\[|#|worker: )")


def everything(app, scenarios, heard, broker, notes, log):
    tasks = known_tasks(heard)
    journal = [json.loads(e) for e in notes.lrange("journal", 0, -1)]
    found = {key.decode("utf-8", "replace"): value(broker, key) for key in broker.keys("*")}
    raw = {key: v for key, v in found.items() if v}
    owner, out = {}, {}
    for s in scenarios:
        for task_id in family(s, tasks, raw):
            owner.setdefault(task_id, s)
    lines = log_records(log)
    for s in scenarios + [None]:
        ids = [i for i in owner if owner[i] is s]
        names = labels(s, ids, tasks) if s else {}
        plain = Plain(names)
        seen = collections.OrderedDict()
        if s:
            for what, said in s.says.items():
                seen["says " + what] = plain(said)
        for task_id in ids:
            label = names[task_id]
            events = [e for e in heard if e.get("uuid") == task_id]
            for kind in ("sent", "worker"):  # who sends a task and who runs it are two, in no order
                of_kind = in_order(kind == "sent", [plain.event(e) for e in events if (e["type"] == "task-sent") == (kind == "sent")])
                if of_kind:
                    seen["%s: events %s" % (label, kind)] = of_kind
            if META + task_id in raw:
                seen[label + ": record"] = plain.record(app, raw[META + task_id])
        found = [plain.entry(e) for e in journal if owner.get(e["task_id"]) is s]
        if found:
            seen["journal"] = sorted(found, key=repr)
        said = [plain(line) for line in lines if owner.get(first_of(owner, line)) is s]
        if said:
            seen["log"] = sorted(said)
        if s:
            groups = s.groups
            for key in sorted(k for k in raw if k.startswith(GROUP) and k[len(GROUP):] in groups):
                seen["record of " + names[key[len(GROUP):]]] = plain(raw[key]["value"])
        else:
            seen["keys"] = left_over(raw, owner)
            seen["worker events"] = worker_events(heard, plain)
        out[s.name if s else ""] = seen
    return out


def in_order(sent, events):
    """Events of a task that is received more than once, in the order of its runs: a retry is
    published, and may have been received, before Celery has said what became of the run before."""
    if sent:
        return sorted(events, key=told_first)
    steps = [[], [], []]
    for e in events:
        steps[["task-received", "task-started"].index(e["type"]) if e["type"] in ("task-received", "task-started") else 2].append(e)
    if len(steps[0]) < 2:
        return events
    steps[2].sort(key=lambda e: e["type"] != "task-retried")
    runs = max(len(step) for step in steps)
    return [e for i in range(runs) for step in steps for e in step[i:i + 1]]


def told_first(event):
    """The order of what is told of one task by several who sent it. Which is heard first is chance: a task
    may have run, and replaced itself, before its sender says that it was sent."""
    return [event.get("retries") or 0] + [event.get(f) or "" for f in ("parent_id", "args", "kwargs")]


def value(broker, key):
    """What a key holds; None if it has expired meanwhile, as the claims of chords do."""
    kind = broker.type(key).decode()
    read = {"none": lambda k: None, "string": broker.get, "list": lambda k: broker.lrange(k, 0, -1), "set": broker.smembers,
            "hash": broker.hgetall, "zset": lambda k: broker.zrange(k, 0, -1)}[kind]
    found = read(key)
    if not found and found != b"":
        return None
    return {"kind": kind, "ttl": -(-broker.ttl(key) // 600) * 600, "value": text(found), "bytes": found if kind == "string" else None}


def text(v):
    if isinstance(v, bytes):
        try:
            return v.decode()
        except UnicodeDecodeError:
            return v.decode("latin-1")
    if isinstance(v, dict):
        return {text(k): text(e) for k, e in v.items()}
    if isinstance(v, (list, tuple)):
        return [text(e) for e in v]
    if isinstance(v, (set, frozenset)):
        return sorted(text(e) for e in v)
    return v


def known_tasks(heard):
    """What events tell of each task that was sent or received; who sent it knows best."""
    told = [e for e in heard if "uuid" in e]
    tasks = collections.OrderedDict((e["uuid"], {}) for e in told)
    for e in sorted(told, key=lambda e: (e["type"] != "task-sent", told_first(e))):
        for field in ("name", "args", "kwargs", "root_id", "parent_id"):
            if e.get(field) is not None:
                tasks[e["uuid"]].setdefault(field, e[field])
    return tasks


def family(scenario, tasks, raw):
    """The tasks that a scenario has sent, and those that they have."""
    ids = list(scenario.roots)
    more = True
    while more:
        more = False
        for task_id, known in tasks.items():
            if task_id not in ids and (known.get("root_id") in ids or known.get("parent_id") in ids):
                ids.append(task_id)
                more = True
    return ids


def labels(scenario, ids, tasks):
    names, counts = {}, collections.Counter()

    def order(task_id):
        known = tasks.get(task_id, {})
        return [UUID.sub("", str(known.get(f) or "")) for f in ("name", "args", "kwargs")] + [ids.index(task_id)]
    for task_id in sorted(ids, key=order):
        name = (scenario.roots.get(task_id) or tasks.get(task_id, {}).get("name") or "task").split(".")[-1]
        counts[name] += 1
        names[task_id] = "%s#%d" % (name, counts[name])
    for n, group in enumerate(scenario.groups):
        names[group] = "group#%d" % n
    return names


def log_records(path):
    """The records of a log, each with the lines that belong to it. None where Celery's own is
    garbled: tracebacks of old billiards cannot be printed by Python 3.11, which logs that instead."""
    records = []
    if billiard.VERSION[0] < 4 and sys.version_info >= (3, 11):
        return records
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f.read().split("\n"):
            if HEADER.match(line):
                records.append(line)
            elif records:
                records[-1] += "\n" + line
    return [r.rstrip("\n") for r in records]


def first_of(owner, line):
    """The first task that a log line speaks of: its id is in brackets, or a word of its own."""
    for match in re.finditer(r"\[([^][]+)\]|([\w-]+)", line):
        for word in match.groups():
            if word in owner:
                return word
    return None


def left_over(raw, owner):
    left = {}
    for key, v in raw.items():
        if key.startswith(META) and key[len(META):] in owner or key.startswith(("apium.", "_kombu.binding")):
            continue
        size = len(v["value"]) if v["kind"] != "string" else 1
        name = UUID.sub("<id>", key)
        left.setdefault(name, []).append("%s of %d, ttl %s" % (v["kind"], size, v["ttl"]))
    return {k: sorted(v) for k, v in left.items()}


def worker_events(heard, plain):
    """Each kind of event that workers send of themselves, with its fields."""
    kinds = {}
    for e in heard:
        if e["type"].startswith("worker-"):
            fields = {k: v for k, v in plain.event(e).items() if k not in ("loadavg", "processed", "active")}
            kinds[e["type"]] = dict(fields, also=sorted(k for k in e if k not in fields))
    return kinds


class Plain(object):
    """Replaces what differs in every run; ids become the names that they are given."""

    def __init__(self, names):
        self.names = names

    def __call__(self, v):
        if isinstance(v, str):
            return self.text(v)
        if isinstance(v, dict):
            return {self.text(str(k)): "int" if k in ("pid", "worker_pid") and isinstance(e, int) else self(e) for k, e in v.items()}
        if isinstance(v, (list, tuple)):
            return [self(e) for e in v]
        if isinstance(v, float) and abs(v) > 1e9 and abs(v - datetime.datetime.now().timestamp()) < 90000:
            return "<now>"
        if isinstance(v, int) and not -2 ** 53 < v < 2 ** 53 or v != v:
            return repr(v)
        return v if v is None or isinstance(v, (bool, int, float)) else self.text(repr(v))

    def text(self, v):
        if len(v) > 20000:
            return "%s… of %d" % (v[:50], len(v))
        for known, name in self.names.items():
            if known in v:
                v = v.replace(known, name)
        v = UUID.sub("<id>", v)
        v = DATE.sub(self.date, v)
        for pattern, kind in VARIES:
            v = pattern.sub(kind, v)
        return v

    @staticmethod
    def date(match):
        try:
            at = datetime.datetime.fromisoformat(match.group().replace("Z", "+00:00").split(",")[0])
        except ValueError:
            return match.group()
        at = at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)
        near = abs((at - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) < 90000
        return "<date%s%s>" % (" T" if "T" in match.group() else "", match.group(1) or "") if near else match.group()

    def event(self, e):
        return {k: self(v) for k, v in e.items() if k not in NOISE and k != "pid" and v is not None}

    def entry(self, e):
        return {k: self(v) for k, v in e.items() if k != "pid"}

    def record(self, app, stored):
        raw = stored["value"]
        try:
            doc = json.loads(raw)
            fields = {"(order)": list(doc), "(encoding)": json.dumps(doc) == raw or self(raw)}
        except ValueError:
            doc = app.backend.decode(stored["bytes"])
            fields = {"(kind)": type(doc).__name__}
        fields["(ttl)"] = stored["ttl"]
        fields.update({k: self(v) for k, v in doc.items()})
        return fields
