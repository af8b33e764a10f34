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
# Settings that Celery heeds without having them in its table, and those of RedBeat.
UNLISTED = (
    "redis_backend_health_check_interval", "redis_client_name", "redis_backend_credential_provider",
    "redbeat_redis_url", "redbeat_key_prefix", "redbeat_lock_key", "redbeat_lock_timeout", "redbeat_redis_use_ssl", "redbeat_redis_options",
)
REDIS = ("redis", "rediss", "sentinel", "socket", "redis+socket")


class NotExportable(Exception):
    """A value that cannot be written into a file."""


class Exporter:
    """Turns the settings of an app into plain data, and remembers what could not be."""

    def __init__(self, app):
        app.finalize()
        app.conf.finalize() if hasattr(app.conf, "finalize") else app.conf.get("broker_url")
        self.app = app
        self.lost = {}
        self.refused = {}  # entries of beat_schedule that only Python can run: they say so themselves

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
            value = self.app.conf.get(name, self.app.conf.get(name.upper()) if name.startswith("redbeat_") else None)
            if value is not None:
                out[name] = self.plain(name, value if isinstance(value, (str, int, float, Mapping)) else describe(value))
            elif name == "redbeat_lock_key" and name in self.app.conf:
                out[name] = False  # there is no lock
        if str(out.get("result_backend")).startswith(("db", "database", "celery.backends.database")):
            import celery
            if celery.VERSION[:2] < (5, 7):  # which read nothing but pickle
                out["apium_database_pickle"] = True
        self.transports(out)
        self.databases(out)
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
        special = {"task_routes": self.routes, "task_queues": self.queues, "task_annotations": self.annotations, "beat_schedule": self.beat}.get(name)
        if name == "beat_scheduler" and isinstance(value, type):
            return f"{value.__module__}:{value.__qualname__}"
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
            entry.update(self.declaration(f"task_queues.{queue.name}", queue))
            bindings = [
                {"exchange": b.exchange.name, "exchange_type": b.exchange.type, "routing_key": b.routing_key or "",
                 **self.exchange(f"task_queues.{queue.name}", b.exchange),
                 **({"arguments": self.plain(f"task_queues.{queue.name}", b.arguments)} if b.arguments else {})}
                for b in queue.bindings or ()
            ]
            if bindings:
                entry["bindings"] = sorted(bindings, key=str)
            out.append(entry)
        return out

    def declaration(self, path, queue):
        """What RabbitMQ is told of a queue, where it is not as kombu has it by default."""
        said = self.exchange(path, queue.exchange)
        if not queue.durable:
            said["queue_durable"] = False
        if queue.auto_delete != (type(queue).__name__ == "Broadcast"):
            said["queue_auto_delete"] = bool(queue.auto_delete)
        for name in ("exclusive", "no_declare"):
            if getattr(queue, name, None):
                said[name] = True
        for name in ("queue_arguments", "binding_arguments", "consumer_arguments"):
            if getattr(queue, name, None):
                said[name] = self.plain(f"{path}.{name}", getattr(queue, name))
        for name in ("expires", "message_ttl", "max_length", "max_length_bytes", "max_priority"):
            if getattr(queue, name, None) is not None:
                said[name] = self.plain(f"{path}.{name}", getattr(queue, name))
        return said

    def exchange(self, path, exchange):
        said = {}
        if not exchange.durable:
            said["exchange_durable"] = False
        for name in ("auto_delete", "no_declare"):
            if getattr(exchange, name, None):
                said[f"exchange_{name}"] = True
        if exchange.arguments:
            said["exchange_arguments"] = self.plain(f"{path}.exchange_arguments", exchange.arguments)
        return said

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


    def beat(self, value):
        """Entries of beat_schedule. One that cannot be written down says why, so that whoever runs it can tell."""
        out = {}
        for name, entry in value.items():
            try:
                out[str(name)] = self.periodic(entry)
            except Exception as exc:
                why = str(exc) if isinstance(exc, NotExportable) else f"{type(exc).__name__}: {exc}"
                task = entry.get("task") if isinstance(entry, Mapping) else getattr(entry, "task", None)
                out[str(name)] = {"task": str(task), "not_exported": why}
                self.refused[f"beat_schedule.{name}"] = why
        return out

    def periodic(self, entry):
        from celery.beat import ScheduleEntry
        if type(entry) is ScheduleEntry:
            entry = {key: getattr(entry, key) for key in ("task", "schedule", "args", "kwargs", "options")}
        if not isinstance(entry, Mapping):
            raise NotExportable(f"{describe(entry)} is run by Python only")
        out = {}
        for key, value in entry.items():
            if key == "schedule":
                out[key] = schedule(value, bool(entry.get("relative")))
            elif key == "options":
                out[key] = {str(name): option(f"options.{name}", v) for name, v in (value or {}).items()}
            elif key in ("args", "kwargs"):
                out[key] = message(key, value) if value else [] if key == "args" else {}
            elif key != "relative":
                out[str(key)] = str(value)
        return out

    def databases(self, out):
        """The databases of Django's tables, as its routers have them."""
        conf = sys.modules.get("django.conf")
        if conf is None or not conf.settings.configured:
            return
        installed = {str(app).partition(".")[0] for app in conf.settings.INSTALLED_APPS}
        models = [("django_celery_beat", "PeriodicTask"), ("djcelery", "PeriodicTask")]
        if "django" in str(out.get("result_backend")):
            models.insert(0, ("django_celery_results", "TaskResult"))
        found = []
        for app, model in models:
            if app not in installed:
                continue
            name = "apium_beat_database" if found else "apium_database"
            try:
                connection = connection_of(conf.settings, app, model)
                if connection.alias not in found:
                    out[name] = self.database(name, connection)
                    found.append(connection.alias)
            except Exception as exc:  # its driver is missing, for one: Celery's worker starts all the same
                self.lose(name, f"{type(exc).__name__}: {exc}")
        if getattr(conf.settings, "DJANGO_CELERY_BEAT_TZ_AWARE", True) is False:
            out["django_celery_beat_tz_aware"] = False

    def database(self, name, connection):
        given = connection.settings_dict
        out = {key: given[key] for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS") if given.get(key)}
        if connection.vendor == "sqlite" and not str(given["NAME"]).startswith("file:"):
            out["NAME"] = os.path.abspath(str(given["NAME"]))
        return self.plain(name, dict(out, TIME_ZONE=connection.timezone_name))


def connection_of(settings, app, model):
    """Django's connection to the database of a model. Without routers that needs no models."""
    from django.apps import apps
    from django.db import connections, router
    if not settings.DATABASE_ROUTERS:
        return connections["default"]
    if not apps.ready:
        import django
        django.setup()
    return connections[router.db_for_write(apps.get_model(app, model))]


def schedule(value, relative):
    """A schedule as Apium reads it. What is a class of somebody's own, only Python can run."""
    from celery import schedules
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, (int, float)):
        if value != value or value in (float("inf"), float("-inf")):
            raise NotExportable(f"schedule: {value} seconds are no interval")
        value = float(value) if isinstance(value, float) else int(value)
        return {"every": value, "relative": True} if relative else value
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    zone = None
    if kind == "django_celery_beat.tzcrontab.TzAwareCrontab":
        zone = str(value.tz)
    elif getattr(value, "nowfun", None) is not None:
        raise NotExportable("schedule: it has a clock of its own (nowfun), which is run by Python only")
    if type(value) is schedules.schedule:
        return schedule(value.run_every, value.relative)
    if type(value) is schedules.crontab or zone is not None:
        names = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        fields = {name: getattr(value, "_orig_" + name) for name in names}
        for name, field in fields.items():
            if not isinstance(field, (str, int)):
                fields[name] = [int(number) for number in sorted(getattr(value, name))]
        return {"crontab": dict(fields, timezone=zone)}
    if type(value) is schedules.solar:
        return {"solar": {"event": value.event, "lat": degrees(value.lat), "lon": degrees(value.lon)}}
    if kind == "django_celery_beat.clockedschedule.clocked":
        return {"clocked": value.clocked_time.isoformat()}
    if value is None or isinstance(value, (str, bytes, Mapping, list, tuple)):  # which ends Celery's beat
        raise NotExportable(f"schedule: {value!r} is none")
    raise NotExportable(f"schedule: {describe(value)} is run by Python only")


def degrees(value):
    return value if isinstance(value, int) else float(value)


def option(path, value):
    """An option of apply_async. Dates are ISO texts, and timedeltas seconds."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if path in ("options.queue", "options.exchange") and hasattr(value, "name"):
        return str(value.name)
    return message(path, value)


def message(path, value):
    """A value as messages hold it."""
    from kombu.utils import json as kombu_json
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else [value]
    for inner in (value, *values):
        if type(inner).__name__ == "BeatLazyFunc":
            raise NotExportable(f"{path}: a BeatLazyFunc is called by Python only, at each sending")
    try:
        return json.loads(kombu_json.dumps(value), parse_constant=number_only)
    except NotExportable:
        raise NotExportable(f"{path}: NaN and Infinity cannot be written into a file")
    except Exception as exc:
        raise NotExportable(f"{path}: cannot be written as JSON: {exc}")


def number_only(text):
    raise NotExportable(text)


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


def fits_toml(value):
    """Whether TOML can hold arguments: one that is left out would be another call."""
    if isinstance(value, (Mapping, list)):
        return all(map(fits_toml, value.values() if isinstance(value, Mapping) else value))
    return value is not None and not (isinstance(value, int) and abs(value) >= 2 ** 63)


def for_toml(exporter, settings):
    """Two settings are None for what can be said as 0; all other Nones are lost."""
    for name in ("result_expires", "broker_connection_max_retries"):
        if name in settings and settings[name] is None:
            settings[name] = 0
    for name, entry in settings.get("beat_schedule", {}).items():
        if not fits_toml([entry.get(key) or [] for key in ("args", "kwargs", "options")]):
            why = "TOML has no None, and no numbers of more than 64 bits: export it as JSON"
            settings["beat_schedule"][name] = {"task": entry["task"], "not_exported": why}
            exporter.refused[f"beat_schedule.{name}"] = why
    from celery.app import defaults
    table = dict(defaults.flatten(defaults.NAMESPACES))
    for path in missing_nulls({key: value for key, value in settings.items() if key != "beat_schedule"}):
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
    exporter = Exporter(find_app(args.app))
    settings = exporter.settings(args.all)
    if args.format == "toml":
        for_toml(exporter, settings)
    for path, why in {**exporter.lost, **exporter.refused}.items():
        print(f"warning: {path}: {why}", file=sys.stderr)
    if exporter.lost:
        settings[NOT_EXPORTED] = exporter.lost
    print("The settings hold URLs with passwords: keep the file private.", file=sys.stderr)
    sys.stdout.write({"json": write_json, "yaml": write_yaml, "toml": write_toml}[args.format](settings))


if __name__ == "__main__":
    main()
