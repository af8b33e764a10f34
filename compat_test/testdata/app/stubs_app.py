"""Tasks whose parameters, options and texts are of every kind. A test has them written in Go."""
from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import os
import typing
import uuid
from typing import Any, Dict, List, NamedTuple, NewType, Optional, Sequence, Tuple, Union

from celery import Celery, Task, shared_task

if typing.TYPE_CHECKING:
    from nowhere import Unknown

app = Celery("stubs_app", broker=os.environ.get("BROKER", "memory://"), backend=os.environ.get("BACKEND"))
app.conf.update(task_acks_late=True)


class Color(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 3


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


@dataclasses.dataclass
class Line:
    sku: str
    qty: int = 1
    note: Optional[str] = None
    color: Color = Color.RED
    parts: List[Line] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Node:
    value: int
    next: Node
    both: Tuple[Node, int]


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Box(typing.TypedDict, total=False):
    width: int
    owner: "Unknown"


Odd = typing.TypedDict("Odd", {"odd-key": int, 'quote"d': str, "class": bool, "Class": bool})
UserId = NewType("UserId", int)


@app.task(name="shop.tasks.price", bind=True, acks_late=True, max_retries=5, autoretry_for=(ConnectionError,),
          retry_backoff=True, rate_limit="1000/s", time_limit=30, soft_time_limit=25)
def price(self, order_id: int, lines: List[Line], *, currency: str = "EUR", due: Optional[datetime.datetime] = None,
          rate: decimal.Decimal = decimal.Decimal("1.0")) -> Dict[str, float]:
    """Price one order.

    Weird: \x00 \u202e \\ */ ` " //go:build linux
    //line foo:1
    """


@app.task(name="shop.echo")
def echo(a: int, b: float = 1, c: str = "x", d: bool = False, /, *rest: int, key: Color = Color.RED, size: Size = Size.LARGE, **more: str) -> str:
    pass


@app.task(name="shop.dates")
def dates(day: datetime.date, at: datetime.time, when: datetime.datetime, amount: decimal.Decimal, id: uuid.UUID, blob: bytes,
          wait: Optional[datetime.timedelta] = None) -> List[Any]:
    pass


@app.task(name="shop.structs")
def structs(point: Point, pair: Tuple[int, str], same: Tuple[int, int], box: Box, odd: Odd, node: Optional[Node] = None,
            user: UserId = 0) -> Tuple[int, str]:
    pass


@app.task(name="shop.literal")
def literal(level: typing.Literal["low", "high", ""] = "low", number: typing.Literal[1, -2] = 1, mixed: typing.Literal["a", 1] = 1,
            other: Mixed = Mixed.ONE) -> typing.Literal["low", "high", ""]:
    pass


@app.task
def untyped(x, y=0, *args, z=None, **kwargs):
    pass


@app.task(name="misfits")
def misfits(a: int = "auto", b: int = None, c: int = 1.5, d: float = 10 ** 30, e: int = 10 ** 30, f: list = [], g: Dict[str, int] = {"a": "b"},
            h: bytes = b"x", i: datetime.date = datetime.date(2030, 1, 2), j=float("inf"), k=object, l: str = "\ud800", m: str = 'é"`\n\t\x00',
            n: Tuple[int, ...] = (1, 2), o: Optional[Line] = Line("x"), p: dict = {1: 2}, q: frozenset = frozenset()):
    pass


@app.task(name="go.type")
def names(type: int, func: int, string: str, nil: int, ctx: int, json: int, _: int, __: int, a_b: int, aB: int, größe: int, 名前: int, tasks: int,
          ID: int, userId: int, HTTPHeader: int):
    pass


@app.task(name="go.unknown")
def unknown(a: Unknown, b: List[Unknown], c: Union[int, str], d: typing.Callable[[], int], e: object, f: "not valid python", g: int,
            h: Union[int, float, None] = None, i: Sequence[Any] = (), j: Dict[int, Line] = {}, k: collections.Counter = None) -> Unknown:
    pass


class Base(Task):
    abstract = True
    acks_late = False

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        pass


class ByClass(Base):
    """Documentation of the class."""
    name = "shop-2.by class é"
    ignore_result = True
    default_retry_delay = 1.5
    max_retries = None

    def run(self, x: int, y: str = "z") -> None:
        pass


app.register_task(ByClass())


@shared_task(name="shop.tasks.line", base=Base, queue="lines", priority=3, expires=60, serializer="yaml", time_limit=1, soft_time_limit=2,
             rate_limit=10, throws=(KeyError,), typing=False)
def line(line: Line, return_: int) -> Line:
    pass


@app.task(name="crm.line", autoretry_for=(Exception,), retry_kwargs={"max_retries": 7}, retry_jitter=False)
def line2(x: Color) -> Color:
    pass


@app.task(name="...")
def dots() -> None:
    pass
