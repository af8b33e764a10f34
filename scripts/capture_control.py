"""Writes protocol/testdata/control.json: requests and replies of remote control as Celery publishes them.

    .venv/bin/python scripts/capture_control.py

kombu's mailbox runs on its memory transport; what it hands to the transport is what the
Redis transport writes, as JSON.
"""
import json
import os

from celery import Celery, __version__
from kombu.transport.memory import Channel
from kombu.utils.json import dumps

OUT = os.path.join(os.path.dirname(__file__), "..", "protocol", "testdata", "control.json")
sent = []


def record(self, exchange_or_queue, message, *args, **kwargs):
    sent.append(dumps(message))


Channel._put_fanout = record
Channel._put = record

REQUESTS = [
    {"command": "ping"},
    {"command": "revoke", "arguments": {"task_id": ["é", "b"], "terminate": True, "signal": "SIGKILL"}, "destination": ["a@h", "b@h"]},
    {"command": "stats", "pattern": "w*@h", "matcher": "glob"},
    {"command": "rate_limit", "arguments": {"task_name": "x", "rate_limit": 1.5}, "reply": False},
]
REPLIES = [{"ok": "pong"}, None, [{"id": "é", "time_start": 1.5}], {"error": "KeyError('x')"}]


def main():
    app = Celery(broker="memory://")
    cases = {"celery": __version__, "requests": [], "replies": []}
    with app.connection() as conn:
        box = app.control.mailbox(conn)
        channel = conn.default_channel
        for request in REQUESTS:
            options = dict(request)
            ticket = None if options.pop("reply", True) is False else "ticket-%d" % len(cases["requests"])
            del sent[:]
            box._publish(
                options.pop("command"), options.pop("arguments", {}), reply_ticket=ticket, channel=channel,
                timeout=2 if ticket else None, **options
            )
            cases["requests"].append({"request": request, "ticket": ticket, "oid": box.oid, "message": sent[-1]})
        box.reply_queue(channel).declare()
        for reply in REPLIES:
            del sent[:]
            box._publish_reply({"celery@h": reply}, box.reply_exchange.name, box.oid, "ticket", channel=channel)
            cases["replies"].append({"reply": reply, "oid": box.oid, "message": sent[-1]})
    with open(OUT, "w") as f:
        json.dump(cases, f, indent=1)
        f.write("\n")


main()
