"""Delays one task of each kind, waits for it with AsyncResult.get() and prints
what the client sees."""
import json
import sys

import shoperrors  # noqa: F401  makes its classes known to the client
import tapp


def describe(result):
    out = {}
    try:
        out["value"] = result.get(timeout=tapp.PATIENCE)
    except Exception as exc:
        cls = type(exc)
        out["raised"] = {"module": cls.__module__, "type": cls.__name__, "args": list(exc.args), "str": str(exc)}
    out["state"] = result.state
    out["ready"], out["successful"], out["failed"] = result.ready(), result.successful(), result.failed()
    out["traceback"] = result.traceback if result.traceback is None else len(result.traceback) > 0
    out["date_done"] = result.date_done is not None
    out["children"] = list(result.children or [])
    return out


calls = {
    "sum": tapp.add.delay(1, 2),
    "float": tapp.same.delay(2.0),
    "unicode": tapp.echo.delay("您好 😀", ключ="\x00\u2028\ud800"),
    "big": tapp.same.delay(10**50),
    "none": tapp.nothing.delay(),
    "keyword": tapp.greet.delay("bob", greeting="yo"),
    "value error": tapp.fail.delay("bad", 1),
    "no arguments": tapp.fail.delay(),
    "unicode error": tapp.fail.delay("坏"),
    "importable": tapp.throw.delay("shoperrors", "OutOfStock", "pen", 3),
    "not importable": tapp.throw_hidden.delay("unseen"),
    "wrong arguments": tapp.app.send_task("tapp.add", [1]),
    "unknown task": tapp.app.send_task("tapp.no_such_task"),
    "expired": tapp.same.apply_async([1], expires=-60),
    "countdown": tapp.same.apply_async(["later"], countdown=1),
}
ignored = [tapp.ignored.delay(1), tapp.ignored_fail.delay(1)]
seen = {name: describe(result) for name, result in calls.items()}
seen["ignored"] = {"value": [r.state for r in ignored]}
json.dump(seen, sys.stdout)
