"""Publishes every case of the feature tests and prints what Celery put on the queue:
{"calls": [{"name", "id", "key", "raw"}], "keys": {key: value}}; the keys are those that go
with the calls. The Redis of BROKER must have no worker.

Most messages name the queue "elsewhere" as where they came from, although they are run
from the queue "celery": what is published again then goes where nobody consumes.
"""
import datetime
import itertools
import json
import os
import sys
import warnings

import redis
from celery import chain, chord, group

import features
from features import app

warnings.simplefilter("ignore")
TWICE = [[["retry", {"countdown": 1}]], [["retry", {"countdown": 1}]], [["return", "third"]]]
CALLBACK = app.signature("features.plain", [[[["return", 1]]]], immutable=True)
ADD = app.signature("tapp.same")
ERRBACK = app.signature("tapp.same")


def task(name):
    known = app.tasks["features." + name]
    known.typing = False
    return known


def later(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def frozen(signature, task_id):
    return signature.clone().set(task_id=task_id)


# What a message may carry that its retry keeps.
CARRIED = {
    "nothing": {},
    "family": {"root_id": "the-root", "parent_id": "the-parent"},
    "root alone": {"root_id": "the-root"},
    "group": {"group_id": "the-group", "group_index": 3},
    "chord": {"group_id": "the-group", "group_index": 0, "chord": dict(CALLBACK, chord_size=2)},
    "chain": {"chain": [frozen(CALLBACK, "last"), frozen(CALLBACK, "next")]},
    "link": {"link": [CALLBACK, CALLBACK.clone()]},
    "one link": {"link": CALLBACK},
    "link_error": {"link_error": [ERRBACK]},
    "headers": {"headers": {"x-trace": "abc", "x-list": [1, {"a": None}]}},
    "x-death": {"headers": {"x-death": [1], "x-first-death-queue": "q", "x-other": 1}},
    "stamps": {"stamped_headers": ["customer", "tier"], "customer": ["c1", "c2"], "tier": "gold"},
    "shadow": {"shadow": "shop.pretty"},
    "priority 0": {"priority": 0},
    "priority 3": {"priority": 3},
    "priority 9": {"priority": 9},
    "reply_to": {"reply_to": "reply-queue"},
    "ignored": {"ignore_result": True},
    "not ignored": {"ignore_result": False},
    "nesting": {"replaced_task_nesting": 2},
    "expires": {"expires": 3600},
    "expires as text": {"expires": "2099-01-02T03:04:05Z"},
    "limits": {"time_limit": 90, "soft_time_limit": 50.5},
    "hard limit": {"time_limit": 90},
    "past eta": {"eta": "2020-01-02T03:04:05+00:00"},
    "retries": {"retries": 2},
    "property": {"message_id": "m1", "user_id": "u1"},
    "argsrepr": {"argsrepr": "(secret)", "kwargsrepr": "{hidden}"},
}
EVERYTHING = {}
for _name, _options in CARRIED.items():
    if _name not in ("past eta", "root alone", "one link", "x-death", "ignored", "priority 0", "priority 9", "expires as text", "hard limit"):
        EVERYTHING.update(_options)
CARRIED["everything"] = EVERYTHING

RETRIES = {
    "by default": {},
    "at once": {"countdown": 0},
    "in 5 s": {"countdown": 5},
    "in 2.5 s": {"countdown": 2.5},
    "at an eta": {"eta": 60},
    "at a past eta": {"eta": -60},
    "with exc": {"countdown": 5, "exc": ["ValueError", "bad", 1]},
    "with own exc": {"countdown": 5, "exc": ["OutOfStock", "pen", 3]},
    "with KeyError": {"countdown": 5, "exc": ["KeyError", "k"]},
    "without exc args": {"countdown": 5, "exc": ["ValueError"]},
    "to a queue": {"countdown": 5, "queue": "other"},
    "with priority 6": {"countdown": 5, "priority": 6},
    "to a queue with priority 3": {"countdown": 5, "queue": "other", "priority": 3},
    "with expires": {"countdown": 5, "expires": 1200},
    "with past expires": {"countdown": 0, "expires": -5},
    "with limits": {"countdown": 5, "time_limit": 70, "soft_time_limit": 60},
    "with soft limit": {"countdown": 5, "soft_time_limit": 0.5},
    "with max_retries": {"countdown": 5, "max_retries": 9},
    "with args": {"countdown": 5, "args": ["$plan", "other", None]},
    "with kwargs": {"countdown": 5, "kwargs": {"plan": None, "z": "new"}},
    "with both": {"countdown": 5, "args": ["$plan"], "kwargs": {"q": [1.5]}},
    "with no args": {"countdown": 5, "args": [], "kwargs": {}},
}


def retries():
    """What is carried, by what the retry asks for."""
    for (r, options), c in itertools.product(RETRIES.items(), ("nothing", "everything")):
        yield "retry %s, carrying %s" % (r, c), "plain", [[["retry", options]]], ["a", 1.5], {"k": "v"}, CARRIED[c]
    for c, carried in CARRIED.items():
        yield "retry carrying %s" % c, "plain", [[["retry", RETRIES["with exc"]]]], [], {}, carried
    for name in ("late", "tracked", "ignored", "ignored_errors", "untrailed", "delayed", "delayed_float", "at_once", "throws", "soft_and_hard"):
        for r in ("by default", "with exc", "with args"):
            yield "retry %s of %s" % (r, name), name, [[["retry", RETRIES[r]]]], [1], {}, {}
    yield "retry after publishing", "plain", [[["send", 1, {"task_id": "sent-before-retry", "queue": "elsewhere"}], ["retry", {"countdown": 5}]]], [], {}, {}


def limits():
    for name, n, exc in itertools.product(("plain", "never", "once", "unlimited"), (0, 1, 2, 3, 4, 40), (None, ["ValueError", "bad"])):
        for most in ({}, {"max_retries": 0}, {"max_retries": 2}, {"max_retries": None}):
            options = dict({"countdown": 5}, **most)
            if exc:
                options["exc"] = exc
            yield "%s retried %d times, exc %s, %s" % (name, n, exc, most), name, [[["retry", options]]], ["é", None], {"k": {"a": [1, True]}}, {"retries": n}
    for r in ("with args", "with kwargs", "with both"):
        yield "too many retries %s" % r, "never", [[["retry", RETRIES[r]]]], ["a"], {"k": 1}, {}
    yield "too many retries, in a chain", "never", [[["retry", {}]]], [], {}, {"chain": [frozen(CALLBACK, "not-run-1"), frozen(CALLBACK, "not-run-2")]}


def automatic():
    names = [n for n in features.OPTIONS if n.startswith("auto")]
    raised = (["ValueError", "bad"], ["KeyError", "k"], ["IndexError"], ["RuntimeError", "no", "file"], ["OutOfStock", "pen"])
    for name, exc, n in itertools.product(names, raised, (0, 1, 3, 5, 19, 20)):
        if name == "auto_late" and n < 3:
            continue
        yield "%s raises %s after %d retries" % (name, exc[0], n), name, [[["raise"] + exc]], [], {}, {"retries": n}
    for action in (["ignore"], ["reject", "why", False], ["retry", {"countdown": 9}], ["return", 1]):
        yield "auto %s" % action, "auto_backoff", [[action]], [], {}, {}


def arguments():
    """Which of the inherited arguments a retry with new ones keeps."""
    calls = (
        ([], {}), ([1], {}), ([1, 2], {}), ([1, 2, 3, 4], {}), ([], {"x": 1}), ([], {"x": 1, "y": 2}), ([1], {"y": 2}), ([1], {"z": 3}),
        ([1, 2], {"z": 3, "w": 4}), ([], {"z": 3}), ([1], {"x": 5}),
    )
    news = (
        {"args": ["$plan"]}, {"args": ["$plan", 9]}, {"args": ["$plan", 9, 8]}, {"args": ["$plan", 9, 8, 7]}, {"args": []},
        {"kwargs": {}}, {"kwargs": {"x": 9}}, {"kwargs": {"y": 8}}, {"kwargs": {"z": 7}}, {"kwargs": {"plan": 0, "y": 8}},
        {"kwargs": {"w": 6, "x": 9}}, {"args": ["$plan", 9], "kwargs": {"y": 8}},
    )
    names = [n for n, options in features.OPTIONS.items() if "params" in options]
    for name, (args, kwargs), new in itertools.product(names, calls, news):
        yield "%s%s%s retried with %s" % (name, args, kwargs, new), name, [[["retry", dict(new, countdown=5)]]], args, kwargs, {}


def outcomes():
    """What is left of each outcome, by the options of the task."""
    names = (
        "plain", "late", "tracked", "late_tracked", "ignored", "ignored_tracked", "ignored_errors", "late_ignored", "untrailed",
        "no_ack_on_failure", "no_ack_on_timeout", "no_ack_on_either", "throws",
    )
    plans = {
        "return": [[["return", {"a": [1, 2.5, None, "é"]}]]],
        "raise": [[["raise", "ValueError", "bad", 1]]],
        "raise LookupError": [[["raise", "KeyError", "k"]]],
        "raise own": [[["raise", "OutOfStock", "pen", 3]]],
        "ignore": [[["ignore"]]],
        "reject": [[["reject"]]],
        "reject, saying why": [[["reject", "broken \"é\"", False]]],
        "reject and requeue": [[["reject", "later", True]], [["return", "again"]]],
        "requeue without a reason": [[["reject", None, True]], [["raise", "ValueError", "again"]]],
        "requeue, then retry": [[["reject", None, True]], [["retry", {"countdown": 5, "queue": "elsewhere"}]]],
        "state": [[["state", "PROGRESS", {"done": 0.5}], ["ignore"]]],
        "states": [[["state", "PROGRESS", 1], ["state", "PHASE TWO", ["x"]], ["ignore"]]],
        "state FAILURE": [[["state", "FAILURE", {"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"}], ["ignore"]]],
        "state SUCCESS": [[["state", "SUCCESS", 1], ["ignore"]]],
        "state SUCCESS, then raise": [[["state", "SUCCESS", 1], ["raise", "ValueError", "bad"]]],
        "state and result": [[["state", "PROGRESS", {"done": 0.5}], ["return", 1]]],
        "state and retry": [[["state", "PROGRESS", {"done": 0.5}], ["retry", {"countdown": 5}]]],
        "unencodable": [[["unencodable"]]],
    }
    for name, (plan, actions) in itertools.product(names, plans.items()):
        to = "elsewhere" if plan == "state and retry" else "celery"
        yield "%s: %s" % (name, plan), name, actions, [], {}, {"queue": to}
    for plan, actions in plans.items():
        to = "elsewhere" if plan == "state and retry" else "celery"
        rest = {"link": [frozen(CALLBACK, "link of " + plan)], "chain": [frozen(CALLBACK, "step of " + plan)], "queue": to}
        yield "%s with link and chain" % plan, "late", actions, [], {}, rest
        yield "%s, shadowed, with priority" % plan, "late", actions, [], {}, {"shadow": "shop.pretty", "priority": 3, "queue": to}
        yield "%s, ignored by the message" % plan, "tracked", actions, [], {}, {"ignore_result": True, "queue": to}
        yield "%s, not ignored by the message" % plan, "ignored", actions, [], {}, {"ignore_result": False, "queue": to}


def deaths():
    """One after the other: a prefork pool whose processes all die at once can hang."""
    for n, name in enumerate(("lost", "lost_early", "plain", "late")):
        yield "%s dies" % name, name, [[["die"]], [["return", "again"]]], [], {}, {"queue": "celery", "countdown": 4 + 4 * n}


def time_limits():
    plans = {
        "sleep": [[["sleep", 20], ["return", "slept"]]],
        "catch": [[["catch", 0.8], ["return", "caught"]]],
        "block": [[["block", 20], ["return", "blocked"]], [["return", "again"]]],
    }
    for name, plan in (
        ("soft", "sleep"), ("soft", "catch"), ("soft_late", "sleep"), ("soft_late", "catch"), ("soft_throws", "sleep"),
        ("soft_auto", "sleep"), ("soft_and_hard", "catch"), ("hard", "block"), ("hard_late", "block"), ("hard_no_ack", "block"),
        ("hard_ignored", "block"),
    ):
        yield "%s: %s" % (name, plan), name, plans[plan], [], {}, {"queue": "elsewhere" if name == "soft_auto" else "celery"}
    quick = [[["sleep", 0.7], ["return", "slept"]]]
    yield "limits of the message win", "soft", quick, [], {}, {"soft_time_limit": 30, "queue": "celery"}
    yield "soft limit of the message", "plain", plans["sleep"], [], {}, {"soft_time_limit": 0.5, "queue": "celery"}
    yield "hard limit of the message", "plain", plans["block"], [], {}, {"time_limit": 1, "queue": "celery"}
    yield "hard limit of the message, as a float", "plain", plans["block"], [], {}, {"time_limit": 1.5, "queue": "celery"}
    yield "hard limit with link_error", "plain", plans["block"], [], {}, {"time_limit": 1, "link_error": [ERRBACK], "queue": "celery"}
    yield "hard limit in a chain", "plain", plans["block"], [], {}, {"time_limit": 1, "chain": [frozen(CALLBACK, "after hard limit")], "queue": "celery"}


def limits_for_all():
    """Tasks without limits of their own, for a worker that has some for all."""
    yield "limited by a setting, softly", "plain", [[["sleep", 20], ["return", "slept"]]], [], {}, {"queue": "celery"}
    yield "limited by a setting", "plain", [[["block", 20], ["return", "blocked"]], [["return", "again"]]], [], {}, {"queue": "celery"}
    yield "limited by a setting, in a chain", "plain", [[["sleep", 20]]], [], {}, {"queue": "celery", "chain": [frozen(CALLBACK, "never")]}


def to_the_end():
    """Retries that are run until their task is done.

    Each waits a second: Celery publishes a retry before it stores RETRY, which can overwrite
    what another process has stored by then."""
    for name in ("plain", "late", "tracked", "ignored", "late_tracked"):
        yield "%s retried twice" % name, name, TWICE, [], {}, {"queue": "celery"}
    yield "retried with links", "plain", TWICE, [], {}, {"queue": "celery", "link": [frozen(CALLBACK, "link after retries")], "chain": [frozen(CALLBACK, "step after retries")]}
    failing = [[["retry", {"countdown": 1, "exc": ["ValueError", "bad"]}]]]
    yield "retried in vain", "plain", failing, [], {}, {"queue": "celery", "link_error": [ERRBACK]}
    yield "automatically, in vain", "auto_late", [[["raise", "ValueError", "bad"]]], [], {}, {"queue": "celery"}
    yield "expired retry", "plain", [[["retry", {"countdown": 1, "expires": 0.5}]], [["return", "too late"]]], [], {}, {"queue": "celery"}
    yield "retry with priority", "plain", TWICE, [], {}, {"queue": "celery", "priority": 6}
    yield "waiting retry", "plain", [[["retry", {"countdown": 1000, "exc": ["ValueError", "bad"]}]]], [1], {"a": 1}, dict(EVERYTHING, queue="celery")
    yield "late waiting retry", "late", [[["retry", {"countdown": 1000}]]], [], {}, {"queue": "celery", "priority": 9}
    yield "limits retried", "plain", [[["retry", {"countdown": 1, "soft_time_limit": 0.5}]], [["sleep", 3]]], [], {}, {"queue": "celery"}
    yield "children", "plain", [[["send", n, {"task_id": "child-%d" % n}] for n in range(3)] + [["return", 1]]], [], {}, {"queue": "celery"}
    yield "children of a failure", "late", [[["send", 7, {"task_id": "child-7", "priority": 3}], ["raise", "ValueError", "bad"]]], [], {}, {"queue": "celery", "priority": 6, "stamped_headers": ["s"], "s": [1]}
    yield "children, untrailed", "untrailed", [[["send", 8, {"task_id": "child-8"}], ["return", 1]]], [], {}, {"queue": "celery"}
    for first, second in itertools.product((["return", 1], ["raise", "ValueError", "bad"]), repeat=2):
        same = "%s, then %s" % (first, second)
        yield same, "plain", [[first]], [], {}, {"queue": "celery", "task_id": same}
        yield same + " (again)", "plain", [[second]], [], {}, {"queue": "celery", "task_id": same, "countdown": 20}  # more than a worker takes to start


def canvases():
    ok = [[["return", 1]]]
    s = lambda plan, **options: task("plain").si(plan).set(**options)  # noqa: E731
    yield "chain with a retried step", chain(s(ok), s(TWICE), s(ok))
    yield "chain with a step that is retried in vain", chain(s(ok), s([[["retry", {"countdown": 1, "max_retries": 1}]]]), s(ok), s(ok))
    yield "chord with a retried member", chord([s(ok), s(TWICE, priority=6), s(ok)], frozen(s(ok), "body-1"))
    yield "chord of retried members", chord([s(TWICE) for _ in range(5)], frozen(s(TWICE), "body-2"))
    yield "chord with late retried members", chord([task("late").si(TWICE).set(priority=3) for _ in range(3)], frozen(s(ok), "body-3"))
    yield "chord with a member that is retried in vain", chord([s(ok), s([[["retry", {"countdown": 1, "max_retries": 1}]]])], frozen(s(ok), "body-4"))
    yield "chord with a member that is ignored", chord([s(ok), task("ignored").si(ok)], frozen(s(ok), "body-5"))
    yield "chord with a member that expires in its retry", chord([s(ok), s([[["retry", {"countdown": 1, "expires": 0.5}]]])], frozen(s(ok), "body-6"))
    yield "chord with a member over its hard limit", chord([s(ok), s([[["block", 3]]], time_limit=1)], frozen(s(ok), "body-7"))
    yield "group with retried members", group(s(TWICE), s(ok), s(TWICE))


def deduplicated():
    """Redelivered messages of tasks that have a record already (the option "record")."""
    records = {
        "nothing": None,
        "success": {"status": "SUCCESS", "result": 7, "traceback": None, "children": [], "date_done": "2026-01-02T03:04:05+00:00"},
        "success with children": {
            "status": "SUCCESS", "result": 7, "traceback": None, "children": [[["child", None], None]], "date_done": "2026-01-02T03:04:05+00:00",
        },
        "failure": {
            "status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": ["x"], "exc_module": "builtins"}, "traceback": "tb",
            "children": [], "date_done": "2026-01-02T03:04:05+00:00",
        },
        "started": {"status": "STARTED", "result": {}, "traceback": None, "children": [], "date_done": None},
        "retry": {"status": "RETRY", "result": None, "traceback": "tb", "children": [], "date_done": None},
    }
    for (name, record), redelivered, kind in itertools.product(records.items(), (True, False), ("late", "plain", "late_tracked")):
        case = "%s, redelivered %s, record %s" % (kind, redelivered, name)
        follow = {"link": [frozen(ADD, "link of " + case)], "chain": [frozen(ADD, "step of " + case)]}
        yield case, kind, [[["return", 1]], [["return", 2]]], [], {}, dict(follow, queue="celery", record=record, redelivered=redelivered)


def ordered():
    """One at a time, with ids that are part of those of what follows."""
    plans = {
        "success": [["return", 1]], "failure": [["raise", "ValueError", "bad"]], "tried again": [["retry", {"countdown": 0, "queue": "elsewhere"}]], "child": [],
    }
    for (when, kind), (plan, actions) in itertools.product((("late", "late"), ("early", "plain")), plans.items()):
        case = "%s task with %s" % (when, plan)
        if plan == "child":
            actions = [["send", 1, {"task_id": "child of " + case, "queue": "elsewhere"}], ["return", 1]]
        yield case, kind, [actions], [], {}, {
            "queue": "celery",
            "link": [frozen(CALLBACK, "link of " + case).set(queue="elsewhere")],
            "chain": [frozen(CALLBACK, "step of " + case).set(queue="elsewhere")],
            "link_error": [ERRBACK.clone().set(queue="elsewhere")],
        }


GENERATORS = (retries, limits, automatic, arguments, outcomes, time_limits, limits_for_all, to_the_end, deaths, deduplicated, ordered)


def collect(r, name, out, redelivered=False):
    for key in r.scan_iter(_type="list"):
        for raw in reversed(r.lrange(key, 0, -1)):
            doc = json.loads(raw)
            task_id = doc["headers"]["id"]
            if redelivered:
                doc["headers"]["redelivered"] = doc["properties"]["delivery_info"]["redelivered"] = True
                raw = json.dumps(doc).encode()
            queue, _, step = key.decode().partition("\x06\x16")
            out.append({"name": name, "id": task_id, "key": "celery" + ("\x06\x16" + step if step else ""), "raw": raw.decode()})
        r.delete(key)


def main(*only):
    r = redis.Redis.from_url(os.environ["BROKER"])
    out = []
    for generate in GENERATORS:
        if only and generate.__name__ not in only:
            continue
        for name, kind, plan, args, kwargs, options in generate():
            # Ids that tell in a log or a key which case it is.
            options = dict({"queue": "elsewhere", "task_id": name}, **options)
            if "link_error" in options:
                options["link_error"] = [frozen(errback, "errback of " + name) for errback in options["link_error"]]
            record, redelivered = options.pop("record", None), options.pop("redelivered", False)
            task(kind).apply_async([plan] + list(args), kwargs, **options)
            collect(r, name, out, redelivered)
            if record:
                r.set("celery-task-meta-" + name, json.dumps(dict(record, task_id=name)))
    if not only or "canvases" in only:
        for name, canvas in canvases():
            canvas.apply_async()
            collect(r, name, out)
    keys = {key.decode(): r.get(key).decode() for key in r.scan_iter(_type="string")}
    json.dump({"calls": out, "keys": keys}, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the results' destructors complain at exit


main(*sys.argv[1:])
