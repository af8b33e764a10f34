"""Events, as Celery's own receiver hears them.

    events.py listen    prints one JSON document a line for each event; at SIGTERM what
                        celery.events.State has made of them
    events.py send      publishes the cases of TestEvents
    events.py end       sends an event of its own, test-end
"""
import datetime
import json
import signal
import sys

import features
from features import app
from tapp import PATIENCE


def listen():
    state = app.events.State()

    def stop(*_):
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)

    def hear(event):
        state.event(dict(event))
        print(json.dumps(event), flush=True)

    fields = "name state args kwargs result exception retries root_id parent_id eta expires".split()
    try:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": hear})
            receiver.on_consume_ready = lambda *args, **kwargs: print("listening", flush=True)
            for _ in receiver.consume(limit=None, timeout=None):
                pass
    finally:
        print("STATE " + json.dumps({
            "tasks": {t.uuid: {f: getattr(t, f, None) for f in fields} for t in state.tasks.values()},
            "workers": {w.hostname: w.alive for w in state.workers.values()},
        }), flush=True)


RETRY = ["retry", {"exc": ["KeyError", "again"], "countdown": 0.3}]
CASES = [
    # id, task, plan, options
    ("success", "plain", [[["return", 5]]], {}),
    ("text", "plain", [[["return", "it's \u20ac\U0001f600"]]], {}),
    ("long", "plain", [[["return", list(range(1000))]]], {}),
    ("nested", "plain", [[["return", {"a": [1.5, None, True, {"b": {"c": {"d": {}}}}]}]]], {}),
    ("nothing", "plain", [[]], {}),
    ("failure", "plain", [[["raise", "ValueError", "bad", 7]]], {}),
    ("no message", "plain", [[["raise", "KeyError"]]], {}),
    ("own class", "plain", [[["raise", "OutOfStock", "beans", 3]]], {}),
    ("long failure", "plain", [[["raise", "ValueError", "x" * 3000]]], {}),
    ("retry", "plain", [[RETRY], [["return", 1]]], {}),
    ("retry without cause", "once", [[["retry", {"countdown": 0.2}]]], {}),
    ("retries exhausted", "once", [[RETRY]], {}),
    ("late retry", "late", [[RETRY], [["return", 1]]], {}),
    ("automatic retry", "auto_late", [[["raise", "ValueError", "x"]], [["return", 1]]], {}),
    ("ignored", "plain", [[["ignore"]]], {}),
    ("ignored late", "late", [[["ignore"]]], {}),
    ("rejected early", "plain", [[["reject", "why", False]]], {}),
    ("rejected early requeue", "plain", [[["reject", "why", True]]], {}),
    ("rejected", "late", [[["reject", "why", False]]], {}),
    ("rejected requeue", "late", [[["reject", "why", True]], [["return", 1]]], {}),
    ("no result", "ignored", [[["return", 1]]], {}),
    ("no result failure", "ignored", [[["raise", "ValueError", "x"]]], {}),
    ("unencodable", "plain", [[["unencodable"]]], {}),
    ("not acknowledged", "no_ack_on_failure", [[["raise", "ValueError", "x"]]], {}),
    ("soft limit", "soft", [[["sleep", 5]]], {}),
    ("soft limit caught", "soft", [[["catch", 5], ["return", 1]]], {}),
    ("hard limit", "hard", [[["block", 3]]], {}),
    ("hard limit late", "hard_late", [[["block", 3]]], {}),
    ("hard limit again", "hard_no_ack", [[["block", 3]], [["return", 1]]], {}),
    ("unknown", "nosuch", [[]], {}),
    ("expired", "plain", [[["return", 1]]], {"expires": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)}),
    ("eta", "plain", [[["return", 1]]], {"eta": datetime.datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=datetime.timezone.utc)}),
    ("expires", "plain", [[["return", 1]]], {"expires": datetime.datetime(2099, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)}),
    ("shadow", "plain", [[["return", 1]]], {"shadow": "shop.pretty"}),
    ("family", "plain", [[["return", 1]]], {"root_id": "the-root", "parent_id": "the-parent"}),
    ("hidden", "plain", [[["return", 1]]], {"argsrepr": "(secret)", "kwargsrepr": "{hidden}"}),
    ("wrong arguments", "named", [[["return", 1]], 1, 2, 3, 4], {}),
    ("silent", "silent", [[["return", 1]]], {}),
    ("silent failure", "silent", [[["raise", "ValueError", "x"]]], {}),
]


def send():
    app.control.revoke("revoked", reply=True, limit=1, timeout=PATIENCE)
    for task_id, name, args, options in CASES:
        if app.conf.broker_url.startswith("amqp:") and ("expires" in options or name.startswith("hard")):
            continue  # RabbitMQ drops what has expired, and refuses 2099; Celery may lose a task that goes to a child which is killed
        if name != "named":
            args = [args]
        app.send_task("features." + name, args, task_id=task_id, **options)
    app.send_task("features.plain", [[[["return", 1]]]], task_id="revoked")
    app.send_task("features.plain", [[[["sleep", 60]]]], task_id="terminated")


def end():
    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send("test-end")


if __name__ == "__main__":
    {"listen": listen, "send": send, "end": end}[sys.argv[1]]()
