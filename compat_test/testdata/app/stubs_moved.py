"""Calls the tasks of stubs_app, and prints what became of each call, in its order."""
import datetime
import decimal
import json
import uuid

import stubs_app as tasks

app = tasks.app
DAY, CLOCK, NOW = datetime.date(2030, 1, 2), datetime.time(10, 30), datetime.datetime(2030, 1, 2, 3, 4, 5)
line = {"sku": "tea", "qty": 2, "color": "dark-blue", "parts": [{"sku": "bag"}]}
node = {"value": 1, "next": {"value": 2}, "both": [{"value": 3}, 4]}

CALLS = [
    ("shop.tasks.price", [1, [line]], {"currency": "USD", "due": NOW, "rate": decimal.Decimal("1.5")}),
    ("shop.tasks.price", [1, []], {}),
    ("shop.tasks.price", [1], {}),
    ("shop.tasks.price", [1.0, []], {}),
    ("shop.tasks.price", [1, [], "EUR"], {}),
    ("shop.tasks.price", [1, [{"sku": "tea", "color": "green"}]], {}),
    ("shop.echo", [1, 2, "x", True, 5, 6], {"key": "dark-blue", "size": 1, "other": "y"}),
    ("shop.echo", [1], {"size": 2}),
    ("shop.echo", [1], {"b": 2}),
    ("shop.dates", [DAY, CLOCK, NOW, decimal.Decimal("1.10"), uuid.UUID(int=1), b"\xff"], {"wait": 1.5}),
    ("shop.dates", [DAY, CLOCK, NOW, decimal.Decimal("1.10"), 7, b"\xff"], {}),
    ("shop.structs", [[1, 2.5], [1, "a"], [1, 2], {"width": 1, "owner": [{}]}, {"odd-key": 1, "class": True}, node, 5], {}),
    ("shop.structs", [[1], [1, "a"], [1, 2], {}, {}], {}),
    ("shop.literal", [], {}),
    ("shop.literal", ["middle"], {}),
    ("shop.literal", ["high", -2], {"mixed": "a"}),
    ("stubs_app.untyped", [1, 2, 3, 4], {"z": [1], "more": {}}),
    ("misfits", [], {}),
    ("misfits", [], {"a": 1, "i": DAY, "n": [1], "o": line}),
    ("go.type", [1, 2, "3"] + list(range(13)), {}),
    ("go.unknown", [1, 2, 3, 4, 5, 6, 7], {"h": 1, "j": {"7": line}}),
    ("shop-2.by class \u00e9", [1], {"y": "a"}),
    ("shop.tasks.line", [line, 1], {}),
    ("crm.line", ["red"], {}),
    ("...", [], {}),
    ("...", [1], {}),
]


def outcome(result):
    try:
        return repr(result.get(timeout=60))
    except Exception as exc:
        return "%s: %s" % (type(exc).__name__, exc)


app.conf.task_routes = {"*": {"queue": "celery"}}
sent = [app.send_task(name, args, kwargs, serializer="json", queue="celery", ignore_result=False) for name, args, kwargs in CALLS]
print(json.dumps([[name, outcome(result)] for (name, _, _), result in zip(CALLS, sent)]))
