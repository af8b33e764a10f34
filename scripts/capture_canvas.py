#!/usr/bin/env python3
"""Captures what Celery 5.7 does with canvases, for protocol/canvas/testdata.

Usage:  PYTHON scripts/capture_canvas.py [--out DIR] [--seed N] [--random N]

It needs no broker: messages are caught where kombu hands them to a queue, writes to the
result backend where the Redis backend makes them. Ids are numbered (py-1, py-2, ...).

Every case has a recipe, from which canvases are built here and in the Go test; the JSON
of the signature; and what was published when it was applied as built and when it was
applied after a trip through JSON. More cases than are kept: --random 5000 --out /tmp/x,
then APIUM_CANVAS_CASES=/tmp/x go test ./canvas.
"""
import argparse
import base64
import gzip
import itertools
import json
import pathlib
import random
import sys
import warnings
from datetime import datetime, timezone

import celery.app.amqp
import celery.app.base
import celery.app.task
import celery.canvas
import celery.result
import kombu.utils.uuid
from celery import Celery, chain, chord, chunks, group, signature, xmap, xstarmap
from celery._state import _task_stack
from celery.app.trace import build_tracer
from celery.backends.redis import RedisBackend
from celery.exceptions import Ignore
from kombu.transport import virtual
from kombu.utils import json as kombu_json

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
steps = []  # what the current case does, in order
counter = itertools.count(1)


def numbered():
    return f"py-{next(counter)}"


for module in celery.canvas, celery.app.base, celery.app.task, sys.modules["kombu.utils.uuid"]:
    module.uuid = numbered
celery.app.amqp.anon_nodename = lambda: "gen1@host"
warnings.simplefilter("ignore")

app = Celery("proj", broker="memory://", backend="redis://", set_as_current=True)
Celery.thread_oid = "producer"
app.now = lambda: NOW
app.conf.task_routes = {
    "routed.*": {"queue": "other", "priority": 4}, "keyed.*": {"exchange": "ex", "routing_key": "k"}}


def basic_publish(self, message, exchange, routing_key, **_):
    self._inplace_augment_message(message, exchange, routing_key)
    message["properties"].pop("delivery_tag")
    body = json.loads(base64.b64decode(message["body"]))
    steps.append({"publish": {"headers": plain(message["headers"]), "properties": plain(message["properties"]),
                              "body": body}})


def set_chord_key(self, key, value):
    if key.endswith(b".s"):
        steps.append({"size": [key.decode().removeprefix("celery-taskset-meta-")[:-2], value]})
    else:
        steps.append({"group": [key.decode().removeprefix("celery-taskset-meta-"), json.loads(value)]})


virtual.Channel.basic_publish = basic_publish
RedisBackend._set_chord_key = set_chord_key
RedisBackend.ensure = lambda self, fun, args, **_: None
RedisBackend.on_task_call = lambda self, producer, task_id: None
RedisBackend.add_pending_result = lambda self, result, *a, **k: result
RedisBackend.on_wait_for_pending = lambda self, *a, **k: None
RedisBackend.store_result = lambda self, task_id, *a, **k: failures.append(["store", task_id])
RedisBackend.add_to_chord = lambda self, group_id, result: steps.append({"grow": group_id})


failed = []
failures = []


def chord_part(self, request, state, result, **_):
    failures.append(["part", request.id, request.group, request.group_index, plain(request.chord)])


def retry_publish(publish, *args, **kwargs):
    try:
        return publish(*args, **kwargs)
    except Exception as exc:
        failed.append(exc)
        raise


app.amqp._retry_publish = retry_publish


@app.task(name="proj.current", bind=True)
def current(self, *args, **kwargs):
    return "the result"


def plain(value):
    return json.loads(kombu_json.dumps(value))


# Recipes: nested lists and objects that say how a canvas is built.

def build(recipe):
    kind, of = recipe["kind"], [build(r) for r in recipe.get("of", [])]
    if kind == "sig":
        made = app.signature(recipe["task"], args=tuple(recipe.get("args", ())), kwargs=recipe.get("kwargs", {}))
    elif kind == "chain":
        made = chain(*of)
    elif kind == "flat":  # a chain as older producers send it, in which groups are not made chords
        made = celery.canvas._chain(*of, app=app)
    elif kind == "group":
        made = group(*of)
    elif kind == "chord":
        made = chord(of, build(recipe["body"]))
    elif kind == "chunks":
        made = chunks(of[0], recipe["items"], recipe["n"])
    else:
        made = {"map": xmap, "starmap": xstarmap}[kind](of[0], recipe["items"])
    if "options" in recipe:
        made.set(**recipe["options"])
    if recipe.get("immutable"):
        made.set(immutable=True)
    for link in recipe.get("link", []):
        made.link(build(link))
    for link in recipe.get("link_error", []):
        made.link_error(build(link))
    return made


def run(action):
    """What an action does, with ids that start anew."""
    global counter
    counter = itertools.count(1)
    steps.clear()
    out = {}
    try:
        result = action()
        if result is not None:
            out["result"] = plain(result.as_tuple())
    except Ignore:
        pass
    except Exception as exc:
        return {"error": f"{type(exc).__name__}: {exc}"[:200]}
    out["steps"] = list(steps)
    return out


def configure(case):
    app.conf.task_inherit_parent_priority = case.get("inherit", False)
    app.conf.task_allow_error_cb_on_chord_header = case.get("onheader", False)


class running:
    """Inside a running task, with what its request says."""

    def __init__(self, request):
        self.request = request

    def __enter__(self):
        if self.request is not None:
            _task_stack.push(current)
            current.push_request(called_directly=False, args=(), kwargs={}, children=[], **self.request)

    def __exit__(self, *_):
        if self.request is not None:
            current.pop_request()
            _task_stack.pop()


def applied(make, case):
    request = case.get("request")
    configure({})
    sig = make()
    configure(case)
    with running(request):
        args, options = case.get("args", []), case.get("options", {})
        out = run(lambda: sig.apply_async(tuple(args), **options))
        if request is not None and "error" not in out:
            out["children"] = [plain(r.as_tuple()) for r in current.request.children]
    return out


def refuse_defects(*outcomes):
    for out in outcomes:
        if "no attribute 'clone'" in out.get("error", ""):
            raise ValueError("Celery cannot link callbacks that came in a message to a group")


def capture_apply(case):
    configure({})
    case["json"] = kombu_json.dumps(build(case["recipe"]))
    case["built"] = applied(lambda: build(case["recipe"]), case)
    case["decoded"] = applied(lambda: signature(json.loads(case["json"]), app=app), case)
    refuse_defects(case["built"], case["decoded"])
    if case["decoded"] == case["built"]:
        del case["decoded"]
    return case


def dumped(recipes):
    return [plain(build(r)) for r in recipes]


def request_of(case):
    request = dict(case["request"])
    for key in "callbacks", "errbacks":
        if key in case:
            request[key] = dumped(case[key])
    if "chain" in case:
        frozen = build({"kind": "chain", "of": [{"kind": "sig", "task": "proj.first"}] + case["chain"]})
        request["chain"] = plain(frozen.prepare_steps((), {}, frozen.tasks)[0])[:-1]
    if "chord" in case:
        body = build(case["chord"])
        if case.get("frozen"):
            body.freeze()
        request["chord"] = plain(body)
    # The ids in a message must not meet those made while it is handled.
    return json.loads(json.dumps(request).replace('"py-', '"msg-'))


def capture_follow(case):
    configure(case)
    request = request_of(case)
    case["message"] = {k: request.get(k) for k in ("callbacks", "chain")}
    tracer = build_tracer(current.name, current, app=app)

    def trace():
        failed.clear()
        tracer(request["id"], (), {}, {**request, "args": (), "kwargs": {}, "called_directly": False})
        for exc in failed:  # the tracer has only logged it
            raise exc

    case["did"] = run(trace)
    return case


def capture_errbacks(case):
    configure(case)
    request = request_of(case)
    case["message"] = request["errbacks"]
    with running(request):
        case["did"] = run(lambda: app.backend._call_task_errbacks(current.request, ValueError("bad"), None))
    return case


def capture_replace(case):
    configure(case)
    request = request_of(case)
    case["message"] = request
    method = {"replace": current.replace, "add_to_chord": current.add_to_chord}[case["how"]]
    sig = build(case["recipe"])
    with running(request):
        case["did"] = run(lambda: method(sig))
        case["did"].pop("result", None)
    refuse_defects(case["did"])
    return case


def capture_fail(case):
    """Which results fail when a task before them does, or the header of their chord."""
    configure({})
    case["message"] = request_of({"request": {}, **case})
    failures.clear()
    kept = RedisBackend.on_chord_part_return, RedisBackend._call_task_errbacks
    RedisBackend.on_chord_part_return = chord_part
    RedisBackend.get_state = lambda self, task_id: "PENDING"
    RedisBackend._call_task_errbacks = lambda self, request, exc, tb: request.errbacks and failures.append(
        ["errbacks", request.id, plain(request.errbacks)])
    celery.result.GroupResult.revoke = lambda self, *a, **k: None
    if "chain" in case:
        case["did"] = run(lambda: app.backend._fail_chain(case["message"]["chain"], ValueError("bad")))
    else:
        body = signature(plain(case["message"]["chord"]), app=app)

        def chord_error():
            try:
                raise ValueError("bad")
            except ValueError as exc:
                app.backend.chord_error_from_stack(body, exc)

        case["did"] = run(chord_error)
    RedisBackend.on_chord_part_return, RedisBackend._call_task_errbacks = kept
    case["did"]["failures"] = list(failures)
    return case


# The cases.

def sig(name="a", **more):
    return {"kind": "sig", "task": f"proj.{name}", **more}


def of(kind, *children, **more):
    return {"kind": kind, "of": list(children), **more}


def chord_of(header, body, **more):
    return {"kind": "chord", "of": header, "body": body, **more}


CB = sig("cb", args=[9])
EB = sig("eb")
OPTIONED = [
    {"countdown": 10}, {"eta": "2030-02-03T04:05:06+00:00"}, {"expires": 60}, {"expires": "2030-02-03T04:05:06.5+02:00"},
    {"priority": 7}, {"queue": "q1"}, {"queue": "q1", "routing_key": "rk"}, {"exchange": "ex", "routing_key": "rk"},
    {"routing_key": "only"}, {"shadow": "shade"}, {"headers": {"custom": 1, "trace": "x"}}, {"ignore_result": True},
    {"ignore_result": False}, {"time_limit": 30, "soft_time_limit": 20.5}, {"reply_to": "me"}, {"retries": 3},
    {"stamped_headers": ["who", "why"], "who": "me", "why": ["a", "b"]}, {"unknown": {"x": [1]}, "message_id": "m"},
    {"task_id": "fixed"}, {"group_id": "g0", "group_index": 4}, {"root_id": "r0"}, {"root_id": "r0", "parent_id": "p0"},
    {"replaced_task_nesting": 2}, {"delivery_mode": 1}, {"argsrepr": "(…)", "kwargsrepr": "{…}", "origin": "o@h"},
    {"add_to_parent": False}, {"countdown": 0, "eta": "2030-02-03T04:05:06+00:00"}, {"expires": 0.25},
    {"priority": None, "queue": None}, {"stamped_headers": []}, {"countdown": 1.5},
]
CALLED = [
    {"link": plain(signature("proj.cb2"))}, {"link": [plain(signature("proj.cb2")), plain(signature("proj.cb3"))]},
    {"link_error": [plain(signature("proj.eb2", args=[1]))]}, {"chain": [plain(signature("proj.next", task_id="n"))]},
    {"chord": plain(signature("proj.body2", task_id="bd")), "group_id": "gg", "group_index": 1},
    {"link": plain(chain(signature("proj.x"), signature("proj.y"))), "link_error": plain(signature("proj.eb3"))},
]
REQUESTS = [None, {"id": "cur", "root_id": "root", "parent_id": "par", "delivery_info": {"priority": 3}}]


def leaves():
    yield sig()
    yield sig("b", args=[1, "é", 2.0], kwargs={"k": None})
    yield sig("i", args=[5], immutable=True)
    yield sig("l", link=[CB], link_error=[EB])


def composites(children):
    one, two = children[0], children[1]
    yield of("chain", one, two)
    yield of("group", one, two)
    yield chord_of([one, two], sig("body"))
    yield chord_of([two], one)


def systematic():
    """All shapes over all shapes to depth two, then what options do to each."""
    shapes = list(leaves())
    shapes += [of("chain", sig("c1"), sig("c2")), of("group", sig("g1"), sig("g2")), of("group", sig("g1")),
               chord_of([sig("h1"), sig("h2")], sig("body")), of("group"), of("chain"), of("chain", sig("only"))]
    for a, b in itertools.product(shapes, repeat=2):
        yield from ({"recipe": r} for r in composites([a, b]))
    for a, b, c in itertools.product(shapes[:1] + shapes[4:], repeat=3):
        yield {"recipe": of("flat", a, b, c)}
    for special in shapes[4:]:
        yield {"recipe": special, "args": [1, {"x": 2}]}
        yield {"recipe": {**special, "link": [CB], "link_error": [EB]}, "args": ["in"]}
    for items, n in ([[1, 2, 3], 2], [[[1, 2], [3, 4], [5, 6]], 1], [[], 3]):
        for kind in "map", "starmap":
            yield {"recipe": of(kind, sig("m"), items=items)}
            yield {"recipe": of("chain", sig(), of(kind, sig("m"), items=items), sig())}
        yield {"recipe": of("chunks", sig("m"), items=items, n=n)}
        yield {"recipe": of("group", sig(), of("chunks", sig("m"), items=items, n=n))}
    base = [sig("o", args=[1]), of("chain", sig("c1"), sig("c2"), sig("c3")), of("group", sig("g1"), sig("g2")),
            chord_of([sig("h1"), of("chain", sig("h2"), sig("h3"))], sig("body")),
            of("chain", sig("c1"), of("group", sig("g1"), sig("g2")), sig("c2"), of("group", sig("g3"), sig("g4")))]
    for recipe, options in itertools.product(base, OPTIONED):
        yield {"recipe": recipe, "options": options}
        yield {"recipe": {**recipe, "options": options}, "args": [0]}
    for recipe, options in itertools.product(base, CALLED):
        yield {"recipe": recipe, "options": options}
    for request, inherit, recipe in itertools.product(REQUESTS, [False, True], base):
        yield {"recipe": recipe, "request": request, "inherit": inherit}
    for recipe in base:
        for link in [CB], [CB, CB, sig("cb2")], [of("group", sig("x"), sig("y"))], [of("chain", sig("x"), sig("y"))]:
            yield {"recipe": {**recipe, "link": link}}
            yield {"recipe": {**recipe, "link_error": link}}
            yield {"recipe": {**recipe, "link_error": link}, "onheader": True}
    for kind in "map", "starmap":
        yield {"recipe": of(kind, {"kind": "sig", "task": "routed.m"}, items=[[1]]), "options": {"shadow": "s"}}
    yield {"recipe": of("chunks", {"kind": "sig", "task": "routed.m"}, items=[1, 2], n=1), "options": {"priority": 2}}
    for name in "routed.x", "keyed.y":
        yield {"recipe": {"kind": "sig", "task": name}}
        yield {"recipe": {"kind": "sig", "task": name}, "options": {"queue": "mine", "priority": 1}}


class Generator:
    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.flat = 0  # how often flat chains come, among six others

    def recipe(self, depth):
        rnd = self.rnd
        kinds = ["sig"] if depth == 0 else ["sig", "chain", "chain", "group", "chord", "chord"] + ["flat"] * self.flat
        kind = rnd.choice(kinds)
        made = {"kind": kind}
        if kind == "sig":
            made["task"] = "proj." + rnd.choice("abcdef")
            if rnd.random() < .5:
                made["args"] = [rnd.randrange(9) for _ in range(rnd.randrange(3))]
            if rnd.random() < .2:
                made["kwargs"] = {"k": rnd.randrange(9)}
            if rnd.random() < .15:
                made["immutable"] = True
        else:
            made["of"] = [self.recipe(depth - 1) for _ in range(rnd.choice([0, 1, 1, 2, 2, 2, 3]))]
        if kind == "chord":
            made["body"] = self.recipe(depth - 1)
        if rnd.random() < .15:
            made["options"] = rnd.choice(OPTIONED)
        if depth and kind != "group" and rnd.random() < .15:
            made["link"] = [self.recipe(rnd.randrange(2)) for _ in range(rnd.randrange(1, 3))]
        if depth and rnd.random() < .15:
            made["link_error"] = [self.recipe(0) for _ in range(rnd.randrange(1, 3))]
        return made

    def apply(self, depth):
        case = {"recipe": self.recipe(depth)}
        if self.rnd.random() < .4:
            case["args"] = [self.rnd.randrange(99)]
        if self.rnd.random() < .4:
            case["request"] = REQUESTS[1]
            case["inherit"] = self.rnd.random() < .5
        if self.rnd.random() < .3:
            case["options"] = self.rnd.choice(OPTIONED)
        if self.rnd.random() < .1:
            case["onheader"] = True
        return case

    def request(self):
        request = {"id": "cur", "root_id": self.rnd.choice(["root", "root", "cur"]), "parent_id": None,
                   "task": "proj.current", "delivery_info": {"priority": 3}, "group": None, "group_index": None,
                   "replaced_task_nesting": self.rnd.choice([0, 0, 2])}
        if self.rnd.random() < .5:
            request.update(group="grp", group_index=self.rnd.randrange(4))
        return request

    def list(self, depth, n):
        return [self.recipe(depth) for _ in range(self.rnd.randrange(n))]

    def follow(self):
        case = {"request": self.request(), "inherit": self.rnd.random() < .3, "callbacks": self.list(2, 4)}
        if self.rnd.random() < .6:
            case["chain"] = [self.recipe(2) for _ in range(self.rnd.randrange(1, 4))]
        return case

    def errbacks(self):
        return {"request": self.request(), "errbacks": [self.recipe(0) for _ in range(self.rnd.randrange(1, 4))]}

    def fail(self):
        if self.rnd.random() < .5:
            return {"chain": [self.recipe(2) for _ in range(self.rnd.randrange(1, 4))]}
        return {"chord": self.recipe(2), "frozen": self.rnd.random() < .8}

    def replace(self):
        case = {"how": self.rnd.choice(["replace"] * 5 + ["add_to_chord"]), "request": self.request(),
                "recipe": self.recipe(2), "callbacks": self.list(0, 3), "errbacks": self.list(0, 3)}
        if case["request"]["group"] and self.rnd.random() < .7:
            case["chord"] = self.recipe(1)
        if self.rnd.random() < .5:
            case["chain"] = [self.recipe(1) for _ in range(self.rnd.randrange(1, 3))]
        return case


def write(path, cases):
    text = "[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(path, len(cases), "cases", path.stat().st_size, "bytes")


def collect(capture, cases):
    kept = []
    for case in cases:
        try:
            kept.append(capture(case))
        except Exception as exc:  # what cannot even be built is no case
            print("left out:", type(exc).__name__, exc)
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "protocol" / "canvas" / "testdata")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", type=int, default=60)
    options = parser.parse_args()
    make = Generator(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "systematic.json.gz", collect(capture_apply, systematic()))
    write(options.out / "random.json.gz", collect(capture_apply, (make.apply(3) for _ in range(options.random))))
    make.flat = 2
    write(options.out / "flat.json.gz", collect(capture_apply, (make.apply(3) for _ in range(options.random))))
    write(options.out / "follow.json.gz", collect(capture_follow, (make.follow() for _ in range(options.random))))
    write(options.out / "errbacks.json.gz", collect(capture_errbacks, (make.errbacks() for _ in range(options.random))))
    write(options.out / "fail.json.gz", collect(capture_fail, (make.fail() for _ in range(options.random))))
    make.flat = 0
    write(options.out / "replace.json.gz", collect(capture_replace, (make.replace() for _ in range(options.random))))


if __name__ == "__main__":
    main()
