"""Reads annotations: what a value is in a message."""
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import sys
import typing
import uuid

PLAIN = {
    bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", bytearray: "bytes", type(None): "none",
    datetime.datetime: "datetime", datetime.date: "date", datetime.time: "time", datetime.timedelta: "timedelta",
    decimal.Decimal: "decimal", uuid.UUID: "uuid",
}
LISTS = (
    list, set, frozenset, collections.deque, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable,
    collections.abc.Collection, collections.abc.Set, collections.abc.MutableSet,
)
DICTS = (
    dict, collections.OrderedDict, collections.defaultdict, collections.Counter, collections.abc.Mapping, collections.abc.MutableMapping,
)
MANY = 1 << 63


def annotations_of(thing):
    if sys.version_info >= (3, 14):
        import annotationlib
        return annotationlib.get_annotations(thing, format=annotationlib.Format.FORWARDREF)
    if isinstance(thing, type):
        inherited = [vars(cls).get("__annotations__", {}) for cls in reversed(thing.__mro__)]
        return {name: annotation for own in inherited for name, annotation in own.items()}
    return getattr(thing, "__annotations__", None) or {}


def hints(thing):
    """The annotations of a function or class: types where they are known, else as they stand."""
    try:
        return typing.get_type_hints(thing)
    except Exception:
        pass  # a name that only type checkers know
    known = getattr(thing, "__globals__", None) or vars(sys.modules.get(getattr(thing, "__module__", None), typing))
    resolved = {}
    for name, annotation in annotations_of(thing).items():
        def alone():
            pass
        alone.__annotations__ = {name: annotation}
        try:
            resolved.update(typing.get_type_hints(alone, known))
        except Exception:
            resolved[name] = annotation
    return resolved


def text(annotation):
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def stripped(annotation):
    """A type without what only says more about it."""
    while True:
        if hasattr(annotation, "__supertype__"):  # NewType
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__metadata__"):  # Annotated
            annotation = annotation.__origin__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


class Types(object):
    """Describes types. Those that have a name of their own are declared once."""

    def __init__(self, default):
        self.default = default
        self.declared = {}

    def of(self, annotation):
        try:
            described = self.describe(annotation)
        except Exception:
            described = None
        return dict(described or {"kind": "unknown"}, text=" ".join(text(annotation).split()))

    def describe(self, annotation):
        annotation = stripped(annotation)
        if annotation is None or isinstance(annotation, type) and annotation in PLAIN:
            return {"kind": PLAIN[type(None) if annotation is None else annotation]}
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is None:
            return self.bare(annotation)
        if str(origin).rpartition(".")[2] in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar"):
            return self.describe(args[0])
        if origin is typing.Union or type(annotation).__name__ == "UnionType":
            return self.union(args)
        if origin is getattr(typing, "Literal", None):
            return {"kind": "literal", "values": list(args)} if self.are_plain(args) else None
        if origin is tuple:
            return self.tuple(args)
        if origin in LISTS:
            return {"kind": "list", "of": self.of(args[0])}
        if origin in DICTS:
            value = self.of(args[1] if len(args) > 1 else int)
            return {"kind": "dict", "key": self.of(args[0]), "of": value}
        return self.bare(origin)

    def union(self, args):
        some = [arg for arg in args if arg is not type(None)]
        if set(some) == {int, float}:
            described = {"kind": "float", "text": "float"}
        elif len(some) == 1:
            described = self.of(some[0])
        else:
            return None
        return described if len(some) == len(args) else {"kind": "optional", "of": described}

    def tuple(self, args):
        if len(args) == 2 and args[1] is Ellipsis:
            return {"kind": "list", "of": self.of(args[0])}
        if not args or args == ((),):
            return None
        return {"kind": "tuple", "items": [self.of(arg) for arg in args]}

    def bare(self, annotation):
        if not isinstance(annotation, type):
            return None
        name = "%s.%s" % (annotation.__module__, annotation.__qualname__)
        if name not in self.declared:
            declare = self.declaration(annotation)
            if declare is None:
                return self.builtin(annotation)
            self.declared[name] = {"name": annotation.__name__, "module": annotation.__module__}
            try:
                self.declared[name].update(declare(annotation))
            except Exception:
                del self.declared[name]
                return None
        return {"kind": "named", "name": name}

    def builtin(self, annotation):
        if annotation is tuple or annotation in LISTS:
            return {"kind": "list", "of": {"kind": "any", "text": "Any"}}
        if annotation in DICTS:
            return {"kind": "dict", "key": {"kind": "str", "text": "str"}, "of": {"kind": "any", "text": "Any"}}
        for parent in (str, int, float):
            if issubclass(annotation, parent) and not issubclass(annotation, bool) and not issubclass(annotation, enum.Enum):
                return {"kind": PLAIN[parent]}
        return None

    def declaration(self, annotation):
        """The method that declares a class, if it is of a kind that has fields or members."""
        if issubclass(annotation, enum.Enum):
            return self.enum if self.are_plain([m.value for m in annotation]) else None
        if issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
            return self.named_tuple
        if issubclass(annotation, dict) and hasattr(annotation, "__total__"):
            return self.typed_dict
        if dataclasses.is_dataclass(annotation):
            return self.dataclass
        if hasattr(annotation, "model_fields") and hasattr(annotation, "model_validate"):
            return self.pydantic
        if hasattr(annotation, "__fields__") and hasattr(annotation, "parse_obj"):
            return self.pydantic1
        if hasattr(annotation, "__attrs_attrs__"):
            return self.attrs
        return None

    @staticmethod
    def are_plain(values):
        return bool(values) and (all(type(v) is str for v in values) or all(type(v) is int and -MANY <= v < MANY for v in values))

    def enum(self, cls):
        return {"kind": "enum", "members": [{"name": m.name, "value": m.value} for m in cls]}

    def named_tuple(self, cls):
        return {"kind": "tuple", "of": "NamedTuple", "fields": self.fields(cls, cls._fields, getattr(cls, "_field_defaults", {}))}

    def typed_dict(self, cls):
        return {"kind": "struct", "of": "TypedDict", "fields": self.fields(cls, list(hints(cls)), {})}

    def dataclass(self, cls):
        defaults = {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
        return {"kind": "struct", "of": "dataclass", "fields": self.fields(cls, [f.name for f in dataclasses.fields(cls) if f.init], defaults)}

    def attrs(self, cls):
        return {"kind": "struct", "of": "attrs class", "fields": self.fields(cls, [a.name for a in cls.__attrs_attrs__ if a.init], {})}

    def fields(self, cls, names, defaults):
        known, fields = hints(cls), []
        for name in names:
            field = {"name": name, "key": name}
            if name in known:
                field["type"] = self.of(known[name])
            if name in defaults:
                field["default"] = self.default(defaults[name])
            fields.append(field)
        return fields

    def pydantic(self, cls):
        fields = []
        for name, info in cls.model_fields.items():
            alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias
            field = {"name": name, "key": alias or name, "type": self.of(info.annotation)}
            if not info.is_required() and info.default_factory is None:
                field["default"] = self.default(info.default)
            fields.append(field)
        return {"kind": "struct", "of": "pydantic model", "fields": fields}

    def pydantic1(self, cls):
        fields = []
        for name, info in cls.__fields__.items():
            described = self.of(info.outer_type_)
            if info.allow_none and described["kind"] != "optional":
                described = {"kind": "optional", "of": described, "text": "Optional[%s]" % described["text"]}
            field = {"name": name, "key": info.alias, "type": described}
            if not info.required and info.default_factory is None:
                field["default"] = self.default(info.default)
            fields.append(field)
        return {"kind": "struct", "of": "pydantic model", "fields": fields}
