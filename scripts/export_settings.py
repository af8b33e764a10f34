#!/usr/bin/env python3
"""Prints the effective settings of a Celery app as a settings file for Apium.

    python scripts/export_settings.py -A mysite > celery.json
    python scripts/export_settings.py -A mysite --format toml > celery.toml

Run it where the Python worker runs: with its Python, its environment and its working
directory. It asks the app itself, so it does not matter where the settings come from:
Django's with a namespace, a module with Celery 3's names, or code. It needs nothing
but Celery (and PyYAML for --format yaml).

Printed is what differs from the defaults of Celery 5.7, which hold for what the file
leaves out, whatever version the app runs on. The URLs hold passwords: keep the file
private.
"""
import argparse
import datetime
import json
import os
import re
import sys
from collections.abc import Mapping

NOT_EXPORTED = "_not_exported"

# The defaults that are not the same in all versions from 4.0 on, as they are in 5.7.
# Settings that a version does not have it treats as 5.7 does by default, but for chords.
DEFAULTS = {
    "accept_content": ("json",),
    "control_queue_exclusive": True,
    "database_engine_options": {"pool_pre_ping": True, "pool_recycle": 3600},
    "event_queue_exclusive": True,
    "worker_concurrency": None,
}
# Settings that Celery heeds without having them in its table.
UNLISTED = ("redis_backend_health_check_interval", "redis_client_name", "redis_backend_credential_provider")
REDIS = ("redis", "rediss", "sentinel", "socket", "redis+socket")


class NotExportable(Exception):
    """A value that cannot be written into a file."""


class Exporter:
    """Turns the settings of an app into plain data, and remembers what could not be."""

    def __init__(self, app):
        self.app = app
        self.lost = {}

    def lose(self, path, why):
        self.lost[path] = why

    def settings(self, everything):
        from celery.app import defaults
        out = {}
        for name, option in defaults.flatten(defaults.NAMESPACES):
            value = self.app.conf.get(name)
            try:
                if not everything and same(value, DEFAULTS.get(name, option.default)):
                    continue
                out[name] = self.setting(name, value)
            except NotExportable as exc:
                self.lose(name, str(exc))
        for name in ("broker_url", "broker_read_url", "broker_write_url", "result_backend", "timezone"):
            effective = getattr(self.app.conf, name, None)  # with the environment, and TIME_ZONE of Django
            if name in ("broker_read_url", "broker_write_url") and effective == self.app.conf.broker_url:
                continue
            if effective is not None:
                out[name] = self.plain(name, effective)
        for name in UNLISTED:
            value = self.app.conf.get(name)
            if value is not None:
                out[name] = self.plain(name, value if isinstance(value, (str, int, float)) else describe(value))
        self.transports(out)
        self.others(defaults)
        return out

    def transports(self, out):
        """What transport options mean to this version: it may not know them, or have other defaults."""
        from kombu.transport.redis import Channel
        from celery.backends.base import KeyValueStoreBackend
        known = set(Channel.from_transport_options)
        self.unknown(out, "broker_transport_options", [name for name in ("sep", "global_keyprefix") if name not in known])
        if not hasattr(KeyValueStoreBackend, "_add_global_keyprefix"):
            self.unknown(out, "result_backend_transport_options", ["global_keyprefix"])
        if str(out.get("result_backend")).partition(":")[0] in REDIS:
            # Before 5.0 chords were counted in a list unless told otherwise, before 4.4 always.
            ordered = bool(getattr(self.app.backend, "_chord_zset", False))
            out.setdefault("result_backend_transport_options", {})["result_chord_ordered"] = ordered

    def unknown(self, out, setting, names):
        for name in names:
            if out.get(setting, {}).pop(name, None) is not None:
                self.lose(f"{setting}.{name}", "this version of Celery or kombu does not know it")

    def others(self, defaults):
        """Settings that Celery itself does not know: those of extensions, or misspelt ones."""
        known = set(defaults.SETTING_KEYS) | set(defaults._OLD_SETTING_KEYS) | set(UNLISTED)
        prefix = (self.app.namespace or "").rstrip("_")
        for key in self.app.conf.without_defaults().keys():
            name = str(key)
            if prefix:
                if not name.upper().startswith(prefix.upper() + "_"):
                    continue  # Django's own
                name = name[len(prefix) + 1:]
            lower = name.lower()
            if name in known or name.upper() in known or lower in known or name.startswith("_"):
                continue
            if not re.match(r"(celery|celeryd|celerybeat|broker|task|worker|result|beat|redis|event|control)_", lower) and not prefix:
                continue  # a module's imports and helpers
            self.lose(str(key), "not a setting of Celery's")

    def setting(self, name, value):
        special = {"task_routes": self.routes, "task_queues": self.queues, "task_annotations": self.annotations}.get(name)
        if special and value:
            return special(value)
        return self.plain(name, value)

    def plain(self, path, value):
        """Data as JSON has it."""
        if value is None or isinstance(value, (bool, int)):
            return int(value) if isinstance(value, int) and type(value) not in (bool, int) else value
        if isinstance(value, float):
            if value != value or value in (float("inf"), float("-inf")):
                return str(value)
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, datetime.timedelta):
            return value.total_seconds()
        if isinstance(value, Mapping):
            return {str(k): v for k, v in self.members(path, value.items())}
        if isinstance(value, (list, tuple, set, frozenset)):
            items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
            return [v for _, v in self.members(path, enumerate(items))]
        if isinstance(value, type) and issubclass(value, BaseException):
            return f"{value.__module__}.{value.__qualname__}"
        if type(value).__name__ == "__proxy__" or isinstance(value, os.PathLike):  # Django's lazy texts
            return str(value)
        if type(value).__module__ == "zoneinfo" or hasattr(value, "zone"):
            return str(value)
        raise NotExportable(f"{describe(value)} cannot be written into a file")

    def members(self, path, items):
        for key, value in items:
            try:
                yield key, self.plain(f"{path}.{key}", value)
            except NotExportable as exc:
                self.lose(f"{path}.{key}", str(exc))

    def routes(self, value):
        """Routes as a list: the order counts, and a regular expression cannot be a key."""
        tables = []
        for i, router in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            path = f"task_routes.{i}"
            if isinstance(router, str):
                from celery.utils.imports import symbol_by_name
                router = symbol_by_name(router)
                router = router() if hasattr(router, "route_for_task") else router
            if isinstance(router, (Mapping, list, tuple)):
                pairs = router.items() if isinstance(router, Mapping) else router
                tables.append([pair for pair in (self.route(path, k, v) for k, v in pairs) if pair])
            elif callable(router) or hasattr(router, "route_for_task"):
                tables.append(self.ask(path, router))
            else:
                self.lose(path, f"{describe(router)} cannot be written into a file")
        if not any(tables):
            raise NotExportable("none of the routes can be written into a file")
        return tables

    def route(self, path, key, value):
        if isinstance(key, re.Pattern):
            flags = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s"}
            letters = "".join(letter for flag, letter in flags.items() if key.flags & flag)
            if key.flags & re.VERBOSE:
                self.lose(f"{path}.{key.pattern}", "a verbose regular expression cannot be used in Go")
                return None
            key = {"regex": (f"(?{letters})" if letters else "") + key.pattern}
        try:
            return [key, self.destination(f"{path}.{key}", value)]
        except NotExportable as exc:
            self.lose(f"{path}.{key}", str(exc))
            return None

    def destination(self, path, value):
        if not isinstance(value, (Mapping, str)):
            value = dict(value)
        if not isinstance(value, Mapping):
            return str(value)
        return {k: getattr(v, "name") if k in ("queue", "exchange") and hasattr(v, "name") else v
                for k, v in ((k, v if hasattr(v, "name") else self.plain(path, v)) for k, v in value.items())}

    def ask(self, path, router):
        """What a function answers for each registered task, without arguments."""
        self.app.loader.import_default_modules()
        pairs, failed = [], 0
        for name in sorted(self.app.tasks):
            try:
                answer = self.app.amqp.router.query_router(router, name, (), {}, {}, self.app.tasks[name])
            except Exception:
                failed += 1
                continue
            pair = answer is not None and self.route(path, name, answer)
            if pair:
                pairs.append(pair)
        self.lose(path, f"{describe(router)} was asked once for each of {len(self.app.tasks)} registered tasks, without arguments"
                  + (f"; it failed for {failed}" if failed else ""))
        return pairs

    def queues(self, value):
        """Queues as the app has them, with what Celery fills in."""
        out = []
        for queue in self.app.amqp.Queues(value).values():
            entry = {
                "name": queue.name, "exchange": queue.exchange.name, "exchange_type": queue.exchange.type,
                "routing_key": queue.routing_key or "",
            }
            if type(queue).__name__ == "Broadcast":
                entry["broadcast"] = True
                entry["name"] = queue.alias or queue.name
            elif queue.alias:
                entry["alias"] = queue.alias
            if queue.exchange.delivery_mode not in (None, 2, "persistent"):
                entry["delivery_mode"] = queue.exchange.delivery_mode
            if queue.no_ack:
                entry["no_ack"] = True
            bindings = [
                {"exchange": b.exchange.name, "exchange_type": b.exchange.type, "routing_key": b.routing_key or ""}
                for b in queue.bindings or ()
            ]
            if bindings:
                entry["bindings"] = sorted(bindings, key=str)
            if queue.queue_arguments:
                entry["queue_arguments"] = self.plain(f"task_queues.{queue.name}", queue.queue_arguments)
            out.append(entry)
        return out

    def annotations(self, value):
        """Annotations as a list of mappings; a class of them is asked for each task."""
        from celery.utils.imports import instantiate
        out = []
        for i, table in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            path = f"task_annotations.{i}"
            if isinstance(table, str):
                table = instantiate(table)
            if not isinstance(table, Mapping):
                table = self.annotated(path, table)
            out.append({str(k): self.plain(f"{path}.{k}", dict(v)) for k, v in table.items() if v})
        return out

    def annotated(self, path, table):
        self.app.loader.import_default_modules()
        answers = {}
        if hasattr(table, "annotate_any"):
            answers["*"] = table.annotate_any()
        if hasattr(table, "annotate"):
            answers.update((name, table.annotate(task)) for name, task in sorted(self.app.tasks.items()))
        self.lose(path, f"{describe(table)} was asked once for each registered task")
        return answers


def same(value, default):
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return type(value) in (type(default), int, float) and value == default or value is default


def describe(value):
    name = getattr(value, "__qualname__", None)
    if name:
        return f"{type(value).__name__} {value.__module__}.{name}"
    return f"an object of class {type(value).__module__}.{type(value).__qualname__}"


def write_json(settings):
    return json.dumps(settings, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_yaml(settings):
    import yaml
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def write_toml(settings):
    """TOML with one line a setting: nested values are inline."""
    return "".join(f"{toml_key(k)} = {toml_value(v)}\n" for k, v in settings.items() if v is not None)


def toml_key(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value):
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(v) for v in value if v is not None) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def missing_nulls(value, path=""):
    """Paths of what TOML, which has no null, cannot hold. A None of max_retries becomes -1."""
    if isinstance(value, (Mapping, list)):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            where = f"{path}.{key}" if path else str(key)
            if key == "max_retries" and inner is None:
                value[key] = -1
                continue
            if inner is None:
                yield where
            yield from missing_nulls(inner, where)


def for_toml(exporter, settings):
    """Two settings are None for what can be said as 0; all other Nones are lost."""
    for name in ("result_expires", "broker_connection_max_retries"):
        if name in settings and settings[name] is None:
            settings[name] = 0
    from celery.app import defaults
    table = dict(defaults.flatten(defaults.NAMESPACES))
    for path in missing_nulls(settings):
        if path not in table or table[path].default is not None:
            exporter.lose(path, "None cannot be written in TOML")


def main():
    parser = argparse.ArgumentParser(description="Prints the settings of a Celery app as a settings file for Apium.")
    parser.add_argument("-A", "--app", required=True, help="the app, as for celery -A")
    parser.add_argument("--format", choices=("json", "yaml", "toml"), default="json")
    parser.add_argument("--all", action="store_true", help="also what is as Celery's defaults")
    args = parser.parse_args()

    sys.path.insert(0, os.getcwd())
    from celery.app.utils import find_app
    app = find_app(args.app)
    app.finalize()
    app.conf.finalize() if hasattr(app.conf, "finalize") else app.conf.get("broker_url")

    exporter = Exporter(app)
    settings = exporter.settings(args.all)
    if args.format == "toml":
        for_toml(exporter, settings)
    for path, why in exporter.lost.items():
        print(f"warning: {path}: {why}", file=sys.stderr)
    if exporter.lost:
        settings[NOT_EXPORTED] = exporter.lost
    print("The settings hold URLs with passwords: keep the file private.", file=sys.stderr)
    sys.stdout.write({"json": write_json, "yaml": write_yaml, "toml": write_toml}[args.format](settings))


if __name__ == "__main__":
    main()
