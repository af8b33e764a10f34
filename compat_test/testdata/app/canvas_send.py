"""Builds and sends the canvases of a file, a JSON array of {"name", "canvas"}.

canvas_send.py FILE PRODUCER prints {"<name>": <the result's as_tuple> or {"error": text}}.
"""
import json
import sys

from celery import chain, chord, group
from celery.canvas import chunks, xmap, xstarmap

import canvas_builtin
import canvas_tasks  # noqa: F401  registers its tasks
from tapp import app


def sequence(case, list_of):
    return [build(case, e) for e in list_of]


def call(case, e):
    kwargs = dict(sorted(dict(e.get("kwargs") or {}, tag="%s|%s" % (case, e["tag"])).items()))
    return app.tasks[e["task"]].signature(tuple(e.get("args") or ()), kwargs, immutable=e.get("immutable", False))


builders = {
    "call": call,
    "chain": lambda case, e: chain(*sequence(case, e.get("of") or ())),
    "group": lambda case, e: group(*sequence(case, e.get("of") or ())),
    "chord": lambda case, e: chord(sequence(case, e.get("of") or ()), build(case, e["body"])),
    "map": lambda case, e: xmap(call(case, e), e["it"], app=app),
    "starmap": lambda case, e: xstarmap(call(case, e), e["it"], app=app),
    "chunks": lambda case, e: chunks(call(case, e), e["it"], e["n"], app=app),
}


def build(case, e):
    sig = builders[e["do"]](case, e)
    if e.get("options"):
        sig.set(**e["options"])
    for callback in sequence(case, e.get("link") or ()):
        sig.link(callback)
    for errback in sequence(case, e.get("errors") or ()):
        sig.link_error(errback)
    if e.get("stamps"):
        sig.stamp(**e["stamps"])
    return sig


def send(case, canvas):
    try:
        if canvas["do"] == "builtin":
            result = canvas_builtin.CASES[canvas["task"]](case)
        else:
            result = build(case, canvas).apply_async()
        return result and result.as_tuple()
    except Exception as exc:
        return {"error": "%s: %s" % (type(exc).__name__, exc)}


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    sent = {c["name"]: send("%s|%s" % (sys.argv[2], c["name"]), c["canvas"]) for c in cases}
    json.dump(sent, sys.stdout)
