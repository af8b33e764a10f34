"""The calls of the differential test: (name, task, args, kwargs, options).

Options are those of apply_async, and besides: protocol (1 or 2).
"""
import datetime as dt
import decimal
import uuid

UTC = dt.timezone.utc
U = uuid.UUID("12345678-1234-5678-1234-567812345678")

STRINGS = {
    "empty": "", "ascii": "hello", "space": " ", "quote": '"', "single": "'", "both": "'\"",
    "backslash": "\\", "slash": "/", "newline": "a\nb\r\nc", "tab": "\t", "nul": "a\x00b", "del": "\x7f",
    "controls": "".join(map(chr, range(32))), "latin1": "äöüß", "chinese": "这是一个后台任务", "russian": "привет",
    "arabic": "مرحبا", "emoji": "😀🎉", "family": "👨‍👩‍👧‍👦", "combining": "e\u0301", "bom": "\ufefftext",
    "line separators": "\u2028\u2029", "nonchar": "\uffff\ufffe", "private": "\ue000", "last": "\U0010ffff",
    "lone high": "\ud83d", "lone low": "\ude00", "reversed pair": "\ude00\ud83d", "lone between": "a\ud800b",
    "escaped byte": "caf\udce9.txt", "escaped bytes": bytes(range(128, 256)).decode("utf-8", "surrogateescape"),
    "html": "<a href='x'>&amp;</a>", "percent": "%s %d %(x)s %", "braces": "{0} {x} {{}}", "dollar": "$HOME `id`",
    "json": '{"a": [1, null]}', "true": "true", "null": "null", "number": "1e5", "nan": "NaN", "long": "x" * 5000,
    "date": "2030-01-02T03:04:05", "type key": "__type__", "sep": "\x06\x16", "10k chinese": "中" * 10000,
    "only spaces": "   ", "url": "redis://:pw@h/0", "windows path": "C:\\temp\\x", "replacement": "\ufffd",
}

NUMBERS = {
    "zero": 0, "one": 1, "minus one": -1, "int32": 2**31, "int53": 2**53, "int53+1": 2**53 + 1, "int63-1": 2**63 - 1,
    "int63": 2**63, "-int63": -(2**63), "-int63-1": -(2**63) - 1, "uint64": 2**64 - 1, "int64+": 2**64, "googol": 10**100,
    "4300 digits": 10**4299 + 7, "-googol": -(10**100), "0.0": 0.0, "-0.0": -0.0, "1.0": 1.0, "2.5": 2.5, "0.1": 0.1, "1/3": 1 / 3,
    "1e15": 1e15, "1e16": 1e16, "1e17": 1e17, "123456789012345680.0": 123456789012345680.0, "1e-4": 1e-4, "1e-5": 1e-5,
    "1e22": 1e22, "1e23": 1e23, "1.5e300": 1.5e300, "max": 1.7976931348623157e308, "min": 5e-324, "pi": 3.141592653589793,
    "9007199254740993.0": 9007199254740993.0, "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"),
    "2.675": 2.675, "100.0": 100.0, "-1e-7": -1e-7, "1e100": 1e100,
}

TYPED = {
    "datetime utc": dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    "datetime naive": dt.datetime(2030, 1, 2, 3, 4, 5),
    "datetime micros": dt.datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "datetime one micro": dt.datetime(2030, 1, 2, 3, 4, 5, 1),
    "datetime millis": dt.datetime(2030, 1, 2, 3, 4, 5, 500000),
    "datetime +05:30": dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    "datetime -03:00": dt.datetime(2030, 1, 2, 3, 4, 5, 10, tzinfo=dt.timezone(dt.timedelta(hours=-3))),
    "datetime year 1": dt.datetime(1, 1, 1), "datetime year 9999": dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    "datetime 1969": dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    "date": dt.date(2030, 1, 2), "date leap": dt.date(2000, 2, 29), "date year 1": dt.date(1, 1, 1),
    "time": dt.time(3, 4, 5, 678901), "time midnight": dt.time(0, 0), "time utc": dt.time(1, 2, 3, tzinfo=UTC),
    "decimal": decimal.Decimal("1.10"), "decimal big": decimal.Decimal("123456789012345678901234567890.123"),
    "decimal exp": decimal.Decimal("1E+5"), "decimal nan": decimal.Decimal("NaN"), "decimal neg": decimal.Decimal("-0.00"),
    "uuid": U, "uuid4": uuid.UUID("c8e331a1-ad8e-4503-8cae-2119c78136b9"),
    "uuid of kombu 5.3.0": {"__type__": "uuid", "__value__": {"hex": U.hex, "version": 4}},
    "uuid as int": {"__type__": "uuid", "__value__": {"int": 2**127 + 5}},
    "decimal as float": {"__type__": "decimal", "__value__": 0.1},
    "bytes text": b"abc", "bytes empty": b"", "bytes utf-8": "ä".encode(), "bytes binary": bytes(range(256)),
    "bytes nul": b"\x00", "bytes 100k": b"\xff\x00" * 50000, "tuple": (1, "a", None),
    "marker in list": [b"x", U, dt.date(2030, 1, 2)], "marker in map": {"t": dt.datetime(2030, 1, 2), "b": b"\xff"},
    "almost marker": {"__type__": "datetime"}, "marker and more": {"__type__": "bytes", "__value__": "x", "more": 1},
    "marker value only": {"__value__": 1},
}

NESTED = {
    "none": None, "true": True, "false": False, "empty list": [], "empty map": {}, "list of empties": [[], {}, "", None],
    "list": [1, 2.0, "3", None, True], "map": {"a": 1, "b": [2, {"c": None}]}, "unordered": {"z": 1, "a": 2, "m": 3},
    "int keys": {1: "one", 2: "two"}, "empty key": {"": 1}, "unicode keys": {"ключ": 1, "键": 2, "😀": 3},
    "bool keys": {True: 1, None: 2}, "float keys": {1.5: 1}, "quote key": {'"': 1, "\n": 2}, "escaped byte key": {"caf\udce9": ["\udcff"]},
    "deep list 20": None, "deep list 200": None, "deep map 50": None, "wide list": list(range(10000)),
    "wide map": {str(i): i for i in range(2000)}, "matrix": [[i * j for j in range(20)] for i in range(20)],
    "many strings": ["ä%d" % i for i in range(1000)], "all floats": [i / 7 for i in range(500)],
}


def _deep(depth, wrap):
    value = "bottom"
    for _ in range(depth):
        value = wrap(value)
    return value


NESTED["deep list 20"] = _deep(20, lambda v: [v])
NESTED["deep list 200"] = _deep(200, lambda v: [v])
NESTED["deep map 50"] = _deep(50, lambda v: {"k": v})

SIZES = {"1 kB": 1000, "10 kB": 10**4, "100 kB": 10**5, "1 MB": 10**6}


def cases(now):
    """All calls. now is a datetime in UTC; dates are relative to it."""
    out = []

    def add(name, task, args=(), kwargs=None, **options):
        out.append((name, "tapp." + task, list(args), kwargs or {}, options))

    for group, values in (("string", STRINGS), ("number", NUMBERS), ("typed", TYPED), ("nested", NESTED)):
        for name, value in values.items():
            add("%s %s: arg" % (group, name), "same", [value])
            if group != "nested":
                add("%s %s: kwarg" % (group, name), "echo", [], {"v": value, "list": [value]})
    for name, size in SIZES.items():
        add("size %s: string" % name, "echo", ["x" * size])
        add("size %s: unicode" % name, "echo", ["ü" * (size // 2)])
        add("size %s: list" % name, "same", [list(range(size // 6))])

    # Arguments that do not fit, in Python's words.
    wrong = {
        "add": [([], {}), ([1], {}), ([1, 2, 3, 4], {}), ([1, 2], {"q": 1}), ([1], {"x": 2}), ([], {"y": 1}), ([], {"z": 1}),
                ([1, 2, 3, 4, 5], {"q": 1}), ([], {"a": 1, "b": 2})],
        "greet": [([], {}), ([], {"greeting": "x"}), (["a", "b", "c"], {}), (["a", "b", "c"], {"mark": "?"}), (["a"], {"name": "b"})],
        "named": [([], {}), ([1], {}), ([1, 2], {}), ([1], {"c": 3}), ([], {"a": 1, "c": 3}), ([1, 2], {"b": 3})],
        "nothing": [([1], {}), ([], {"x": 1}), ([1, 2], {})],
        "same": [([], {}), ([1, 2], {}), ([], {"y": 1})],
    }
    for task, calls in wrong.items():
        for args, kwargs in calls:
            add("wrong args: %s(*%r, **%r)" % (task, args, kwargs), task, args, kwargs)
    right = {
        "add": [([1, 2], {}), ([1, 2, 3], {}), ([1], {"y": 2}), ([], {"x": 1, "y": 2, "z": 3}), ([1, 2], {"z": 5}), ([-1, 1], {})],
        "greet": [(["bob"], {}), (["bob", "yo"], {}), (["bob"], {"mark": "?"}), ([], {"name": "这", "greeting": "您好"})],
        "named": [([1], {"b": 2}), ([1], {"b": 2, "c": 3}), ([], {"a": 1, "b": None})],
        "nothing": [([], {})],
    }
    for task, calls in right.items():
        for args, kwargs in calls:
            add("args: %s(*%r, **%r)" % (task, args, kwargs), task, args, kwargs)

    # Go types at the other end.
    for name, value in (
        ("typed_int", 5), ("typed_int", -(2**63)), ("typed_float", 2.5), ("typed_float", 3.0), ("typed_float", 1e300), ("typed_str", "这😀"),
        ("typed_bool", True), ("typed_bool", False), ("typed_bytes", b"\xff\x00"), ("typed_bytes", b"abc"), ("typed_list", [1, 2, 3]), ("typed_list", []),
        ("typed_map", {"a": 1, "b": 2}), ("typed_map", {}), ("typed_bigint", 10**40), ("typed_bigint", 1), ("typed_pointer", None), ("typed_pointer", 7),
        ("typed_uuid", U), ("typed_decimal", decimal.Decimal("1.10")),
        ("typed_time", dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)), ("typed_time", dt.datetime(2030, 1, 2, 3, 4, 5, 600, tzinfo=UTC)),
    ):
        add("%s(%r)" % (name, value), name, [value])
        add("%s(x=%r)" % (name, value), name, [], {"x": value})

    # Exceptions.
    for args in ([], ["bad"], ["bad", 1], ["这", None, 2.5], [""], [["list"]], [{"k": "v"}], ["it's"], ['"'], [1], [None], [True], ["a\nb"], [2**70], ["😀"]):
        add("fail%r" % (args,), "fail", args)
    for name in ("KeyError", "TypeError", "RuntimeError", "ZeroDivisionError", "Exception", "OSError", "IndexError", "LookupError",
                 "NotImplementedError", "AttributeError", "ArithmeticError", "AssertionError", "TimeoutError", "PermissionError"):
        add("throw builtin %s" % name, "throw", ["builtins", name, "reason %s" % name])
    add("throw custom", "throw", ["shoperrors", "OutOfStock", "pen", 3])
    add("throw custom, one argument", "throw", ["shoperrors", "Plain", "x"])
    add("throw celery exception", "throw", ["celery.exceptions", "ImproperlyConfigured", "x"])
    add("throw hidden", "throw_hidden", ["unseen"])
    add("ignored", "ignored", [1])
    add("ignored fail", "ignored_fail", [1])
    add("unknown task", "no_such_task", [1])
    add("unknown task, unicode", "没有", [])
    add("unknown task with kwargs", "no_such_task", [], {"a": {"b": 1}})

    # Options.
    second = dt.timedelta(seconds=1)
    add("expires past datetime", "same", ["late"], expires=now - 60 * second)
    add("expires long past", "same", ["late"], expires=dt.datetime(2001, 1, 1, tzinfo=UTC))
    add("expires past, ignored", "ignored", ["late"], expires=now - 60 * second)
    add("expires later", "same", ["soon"], expires=3600)
    add("expires later, datetime", "same", ["soon"], expires=now + 3600 * second)
    add("countdown 1", "same", ["eta"], countdown=1)
    add("countdown 0", "same", ["eta"], countdown=0)
    add("countdown 0.5", "same", ["eta"], countdown=0.5)
    add("eta past", "same", ["eta"], eta=now - 3600 * second)
    add("eta soon", "same", ["eta"], eta=now + 2 * second)
    add("eta other zone", "same", ["eta"], eta=(now + second).astimezone(dt.timezone(dt.timedelta(hours=9))))
    add("eta naive past", "same", ["eta"], eta=dt.datetime(2020, 1, 1))
    add("eta after expires", "same", ["eta"], countdown=3, expires=1)
    add("header ignore_result true", "same", [1], ignore_result=True)
    add("header ignore_result true, failing", "fail", [1], ignore_result=True)
    add("header ignore_result false on an ignored task", "ignored", [1], ignore_result=False)
    for p in range(10):
        add("priority %d" % p, "same", [p], priority=p)
    add("shadow", "same", [1], shadow="another.name")
    add("shadow unicode", "fail", [1], shadow="这")
    add("custom headers", "same", [1], headers={"trace": "abc", "n": 1, "deep": {"a": [1]}, "none": None})
    add("header like a property", "same", [1], headers={"priority": 3, "body": "x", "properties": {}})
    add("headers with odd text", "same", [1], headers={"t": "\"}{[,\\", "ü": "\x00😀"})
    add("time limits", "same", [1], time_limit=30, soft_time_limit=20)
    add("time limits, floats", "same", [1], time_limit=30.5)
    for name in ("zlib", "gzip", "bzip2"):
        add("compression %s" % name, "echo", ["x" * 1000, "这"], compression=name)
        add("compression %s, small" % name, "same", [1], compression=name)
    add("argsrepr", "same", [1], argsrepr="(secret)", kwargsrepr="{hidden}")
    add("reply_to", "same", [1], reply_to="somebody")
    add("correlation id", "same", [1], correlation_id="another")
    add("own id", "same", [1], task_id="my-id")
    add("own id, odd", "same", [1], task_id="a b/c:这")
    add("root and parent", "same", [1], root_id="r-1", parent_id="p-1")
    add("root and parent, failing", "fail", [1], root_id="r-1", parent_id="p-1")
    add("group id", "same", [1], group_id="g-1", group_index=4)
    add("whoami", "whoami", [], {}, task_id="who-1")
    add("whoami with parents", "whoami", [], {}, task_id="who-2", root_id="r-1", parent_id="p-1", group_id="g-9")
    add("whoami retried", "whoami", [], {}, task_id="who-3", retries=2)
    add("stamped", "same", [1], stamped_headers=["who"], who=["me"])
    add("serializer pickle", "same", [1], serializer="pickle")
    add("serializer yaml", "same", [1], serializer="yaml")
    add("delivery mode 1", "same", [1], delivery_mode=1)
    add("unknown option", "same", [1], strange="yes")

    # Protocol 1, as old producers send it.
    for name, task, args, kwargs in (
        ("plain", "add", [1, 2], {}), ("kwargs", "add", [1], {"y": 2}), ("unicode", "same", ["这😀"], {}), ("none", "nothing", [], {}), ("wrong", "add", [1], {}),
        ("fail", "fail", ["a", 1], {}), ("unknown", "no_such_task", [], {}), ("typed", "same", [U], {}), ("ignored", "ignored", [1], {}), ("float", "same", [1.0], {}),
    ):
        add("v1 " + name, task, args, kwargs, protocol=1)
    add("v1 expired", "same", [1], protocol=1, expires=now - 60 * second)
    add("v1 countdown", "same", [1], protocol=1, countdown=1)
    add("v1 eta past", "same", [1], protocol=1, eta=now - 60 * second)
    add("v1 headers", "same", [1], protocol=1, headers={"trace": 1})
    add("v1 group", "same", [1], protocol=1, group_id="g-2")
    add("v1 priority", "same", [1], protocol=1, priority=6)
    add("v1 compressed", "same", ["x" * 1000], protocol=1, compression="zlib")
    add("v1 time limits", "same", [1], protocol=1, time_limit=30, soft_time_limit=20)
    return out
