#!/usr/bin/env python3
"""Writes settings/testdata/{defaults,routes,queues,declarations,annotations}.json: what Celery makes of settings.

defaults.json is every setting with its type, default and old names. The others hold
settings, and the answers that an app with these settings gave.
"""
import datetime
import json
import pathlib
import re

import celery
from celery import Celery
from celery.app import defaults
from kombu.transport.base import to_rabbitmq_queue_arguments

OUT = pathlib.Path(__file__).resolve().parent.parent / "settings" / "testdata"

ROUTES = [
    {},
    {"task_routes": {"feed.add": "feeds", "feed.*": {"queue": "others", "priority": 3}, "web.*": {"exchange": "web", "routing_key": "w"}}},
    {"task_routes": {"feed.*": "first", "feed.add": "exact", "feed.ad*": "second"}},
    {"task_routes": [{"web.*": "web"}, {"feed.*": "feeds", "web.a": "late"}]},
    {"task_routes": [[[{"regex": r"(feed|web)\.add\Z"}, {"queue": "both"}], ["*.[ab]", "ab"], ["*.[!ab]?d", "cd"]]]},
    {"task_routes": [[[{"regex": "(?i)FEED"}, "upper"], ["web.?", "literal"], ["*", "rest"]]]},
    {"task_routes": {"feed.*": {}, "*": "rest"}},
    {"task_routes": {"feed.*": {"priority": 7, "serializer": "pickle", "compression": "zlib", "delivery_mode": 1}}},
    {"task_routes": {"feed.*": {"routing_key": "only.key"}, "web.*": {"exchange": "news", "exchange_type": "topic", "routing_key": "a.b"}}},
    {"task_default_queue": "mine", "task_routes": {"feed.*": {"queue": "q", "routing_key": "other"}}},
    {"task_default_queue": "mine", "task_default_exchange": "ex", "task_default_exchange_type": "topic", "task_default_routing_key": "a.b"},
    {"task_default_queue": "mine", "task_default_exchange_type": "topic", "task_default_delivery_mode": 1,
     "task_routes": {"feed.*": {"queue": "q", "routing_key": "other"}}},
    {"task_create_missing_queues": False, "task_routes": {"feed.*": "feeds"}},
    {"task_create_missing_queue_exchange_type": "topic", "task_routes": {"feed.*": "feeds", "web.*": {"queue": "web", "routing_key": "x.y"}}},
    {"task_queues": {"feeds": {"exchange": "f", "exchange_type": "topic", "routing_key": "f.#"}, "celery": {}, "plain": {"exchange": "p"}},
     "task_routes": {"feed.add": {"queue": "feeds", "routing_key": "f.add"}, "feed.*": "feeds", "web.a": "plain", "web.*": {"queue": "missing"}}},
    {"task_queues": {"feeds": {"exchange": "f", "exchange_type": "fanout", "delivery_mode": 1}}, "task_default_queue": "feeds"},
    {"task_default_priority": 5, "task_serializer": "yaml", "task_compression": "gzip", "task_routes": {"feed.*": {"priority": 3}}},
]
TASKS = ["feed.add", "feed.b", "web.a", "web.add", "web.?", "xfeed.add", "other", "FEED.x", "a.b", "a.bod", "a.cod"]
OPTIONS = [
    {}, {"queue": "given"}, {"queue": "feeds"}, {"priority": 9}, {"exchange": "e", "routing_key": "r"}, {"routing_key": "r"},
    {"exchange": "e", "exchange_type": "topic", "routing_key": "r.s"}, {"queue": "q", "routing_key": "r"}, {"serializer": "json", "delivery_mode": 2},
]

QUEUES = [
    {},
    {"task_default_queue": "mine"},
    {"task_default_queue": "mine", "task_default_exchange": "ex", "task_default_exchange_type": "topic", "task_default_routing_key": "a.b"},
    {"task_queues": {"a": {}, "b": {"exchange": "x", "exchange_type": "topic", "binding_key": "k.#"}, "c": {"alias": "see", "exchange": "y"}}},
    {"task_queues": [{"name": "a"}, {"name": "b", "exchange": "x", "exchange_type": "fanout"}, {"name": "c", "alias": "see", "routing_key": "r"}]},
    {"task_queues": [{"name": "a"}, {"name": "c", "alias": "see"}], "task_create_missing_queues": False},
]
SELECTIONS = [([], []), (["a"], []), (["see", "new"], []), ([], ["see", "a"]), (["a", "c", "see"], ["a"]), (["new"], [])]

ANNOTATIONS = [
    {"t.a": {"rate_limit": "10/s", "acks_late": True}, "*": {"rate_limit": "5/m", "time_limit": 10}},
    [{"t.a": {"rate_limit": "1/s"}}, {"t.a": {"rate_limit": "2/s", "max_retries": None}, "*": {"priority": 3}}, {"*": {"priority": 4}}],
    {"t.b": {"soft_time_limit": 2.5, "default_retry_delay": 7, "ignore_result": True, "retry_backoff": True, "rate_limit": 2}},
]
DECLARATIONS = [
    {},
    {"task_default_queue_type": "quorum", "task_create_missing_queue_type": "quorum"},
    {"task_queue_max_priority": 5, "task_queues": {"a": {}, "b": {"max_priority": 3}, "c": {"queue_arguments": {"x-max-priority": 9}}},
     "task_default_queue_type": "quorum"},
    {"task_queues": {
        "a": {"exchange": "x", "durable": False}, "b": {"exchange": "y", "durable": False, "exchange_durable": True},
        "c": {"exchange": "z", "auto_delete": True, "queue_auto_delete": False}, "d": {"durable": False, "exchange_auto_delete": True},
        "e": {"exchange": "w", "exclusive": True, "exchange_arguments": {"alternate-exchange": "lost"}}}},
    {"task_queues": {
        "a": {"queue_arguments": {"x-queue-type": "quorum", "x-expires": 1}, "expires": 1.5, "message_ttl": 60, "max_length": 7, "max_length_bytes": 5000000000},
        "b": {"binding_arguments": {"k": 1}, "consumer_arguments": {"x-priority": 3}}, "c": {"no_declare": True}}},
]

ATTRIBUTES = ["rate_limit", "acks_late", "time_limit", "soft_time_limit", "max_retries", "priority", "default_retry_delay",
              "ignore_result", "retry_backoff"]


def plain(value):
    """The value as JSON can hold it."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if value == float("inf"):
        return "inf"
    return list(value) if isinstance(value, tuple) else value


def settings_table():
    old = {}
    for key, name, _ in defaults.flatten(defaults.NAMESPACES, keyfilter=defaults._to_compat):
        old.setdefault(name, []).append(key)
    return {
        name: {"type": o.type if isinstance(o.type, str) else o.type.__name__, "default": plain(o.default), "old": old[name]}
        for name, o in defaults.flatten(defaults.NAMESPACES)
    }


def python_routes(routes):
    """Routes as Python has them, with compiled regular expressions."""
    if not isinstance(routes, list):
        return routes
    return [
        r if isinstance(r, dict) else [(re.compile(k["regex"]) if isinstance(k, dict) else k, v) for k, v in r]
        for r in routes
    ]


def app_with(settings):
    from kombu import Exchange, Queue
    conf = json.loads(json.dumps(settings))
    conf["task_routes"] = python_routes(conf.get("task_routes"))
    if isinstance(conf.get("task_queues"), list):
        conf["task_queues"] = [
            Queue(q["name"], Exchange(q["exchange"], q.get("exchange_type")) if "exchange" in q else None,
                  q.get("routing_key", ""), alias=q.get("alias"))
            for q in conf["task_queues"]
        ]
    app = Celery("capture", broker="memory://", set_as_current=False)
    app.conf.update(conf)
    return app


class Producer:
    """Stands in for kombu's and keeps what is published."""

    def __init__(self, app):
        self.connection = app.connection_for_write()
        self.sent = None

    def publish(self, body, **options):
        self.sent = options


def route(app, task, options):
    producer = Producer(app)
    try:
        app.send_task(task, producer=producer, **options)
    except Exception as exc:
        return {"error": f"{type(exc).__name__}: {exc}"}
    sent = producer.sent
    return {key: getattr(sent.get(key), "name", sent.get(key)) for key in (
        "exchange", "routing_key", "priority", "delivery_mode", "serializer", "compression")}


def routes():
    cases = []
    for settings in ROUTES:
        app = app_with(settings)
        answers = [[task, options, route(app, task, options)] for task in TASKS for options in OPTIONS]
        cases.append({"settings": settings, "answers": answers})
    return cases


def queues():
    cases = []
    for settings in QUEUES:
        answers = []
        for include, exclude in SELECTIONS:
            table = app_with(settings).amqp.queues
            try:
                table.select(include)
                table.deselect(exclude)
                got = [[q.name, q.exchange.name, q.exchange.type, q.routing_key, q.alias or ""] for q in table.consume_from.values()]
            except KeyError:
                got = None
            answers.append([include, exclude, got])
        cases.append({"settings": settings, "answers": answers})
    return cases


class Channel:
    """Keeps what is declared, as RabbitMQ would be told it."""

    prepare_queue_arguments = staticmethod(to_rabbitmq_queue_arguments)

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def keep(**options):
            self.calls.append([name, {k: v for k, v in options.items() if v not in (None, {}) and k not in ("nowait", "passive", "callback", "on_cancel")}])
            return "", 0, 0
        return keep


def declarations():
    cases = []
    for settings in DECLARATIONS:
        answers = {}
        queues = app_with(settings).amqp.queues
        for name in [*queues, "new"]:
            channel = Channel()
            queue = queues[name](channel)
            queue.declare()
            queue.consume("tag")
            answers[name] = channel.calls
        cases.append({"settings": settings, "answers": answers})
    return cases


def nothing():
    """The task of all annotations."""


def annotations():
    cases = []
    for given in ANNOTATIONS:
        plain_app, app = Celery("p", set_as_current=False), Celery("a", set_as_current=False)
        app.conf.task_annotations = given
        answers = {}
        for name in ("t.a", "t.b", "t.c"):
            before, after = (a.task(name=name)(nothing) for a in (plain_app, app))
            answers[name] = {
                attr: getattr(after, attr, None) for attr in ATTRIBUTES if getattr(after, attr, None) != getattr(before, attr, None)
            }
        cases.append({"annotations": given, "answers": answers})
    return cases


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, value in {
        "defaults": {"celery": celery.__version__, "settings": settings_table()},
        "routes": routes(), "queues": queues(), "declarations": declarations(), "annotations": annotations(),
    }.items():
        text = json.dumps(value, indent=1, sort_keys=name == "defaults", allow_nan=False)
        text = re.sub(r"\n {3,}", " ", text)
        (OUT / f"{name}.json").write_text(re.sub(r"\n {2,}([\]}])", r" \1", text) + "\n")


if __name__ == "__main__":
    main()
