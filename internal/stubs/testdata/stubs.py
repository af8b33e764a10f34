"""Tasks that run in Go, for those who call them. Made by: shopworker stubs --python

The functions are never run, unless a Python worker or task_always_eager takes a call: they raise then.
"""
from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any, TypedDict

from celery import shared_task


class line(TypedDict, total=False):
    sku: str
    qty: int
    Note: str | None
    parent: line | None


annotations2 = TypedDict("annotations2", {
    "odd-key": "int",
    "Many": "dict[int, list[line | None]]",
}, total=False)


@shared_task(name="1-2 \"3\"\n\\")
def task_1_2__3___(arg1: str, /, *args: line) -> None:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func9."""
    raise NotImplementedError("1-2 \"3\"\n\\ runs in Go")


@shared_task(name="crm.tasks.add")
def crm_tasks_add(arg1: float, arg2: float, /) -> None:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func2."""
    raise NotImplementedError("crm.tasks.add runs in Go")


@shared_task(name="errback")
def errback(request: Any, exc: Any, traceback: Any, to: str = "root") -> None:
    """Runs in Go."""
    raise NotImplementedError("errback runs in Go")


@shared_task(name="gone")
def gone(**kwargs: Any) -> Any:
    """Runs in Go."""
    raise NotImplementedError("gone runs in Go")


@shared_task(name="gone.named")
def named(a: Any, b: Any = 2) -> Any:
    """Runs in Go."""
    raise NotImplementedError("gone.named runs in Go")


@shared_task(name="größe.class")
def task_class() -> None:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func8."""
    raise NotImplementedError("größe.class runs in Go")


@shared_task(name="handler")
def handler(*args: Any, **kwargs: Any) -> Any:
    """Runs in Go."""
    raise NotImplementedError("handler runs in Go")


@shared_task(name="named.only")
def only(*, b: str, a: str = "1", c: str = "3") -> None:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func5."""
    raise NotImplementedError("named.only runs in Go")


@shared_task(name="shop.datetime")
def shop_datetime() -> None:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func10."""
    raise NotImplementedError("shop.datetime runs in Go")


@shared_task(name="shop.tasks.add")
def shop_tasks_add(x: int, y: int, z: int = 0) -> int:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func1."""
    raise NotImplementedError("shop.tasks.add runs in Go")


@shared_task(name="shop.tasks.everything")
def everything(
    a: bytes = "x",
    b: int | None = 0,
    c: float = 1.5,
    d: datetime.date = "2030-01-02",
    e: datetime.time = "10:00",
    f: uuid.UUID = "12345678-1234-5678-1234-567812345678",
    g: Any = {"a": ["é\n\"\u0000", True, None]},
    h: Any = float("Infinity"),
    i: dict[int, str] = {"1": "b"},
    j: dict[str, Any] = {},
    k: list[bool] = [True, False],
    l: str = "\ud800",
    m: dict[str, Any] = {},
    n: annotations2 = {},
    *rest: int,
    **more: Any
) -> line | None:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func4."""
    raise NotImplementedError("shop.tasks.everything runs in Go")


@shared_task(name="shop.tasks.price", queue="prices2", priority=3, expires=60, ignore_result=True)
def price(
    order_id: int,
    lines: list[line],
    /,
    *,
    currency: str = "EUR",
    due: datetime.datetime | None = None,
    rate: decimal.Decimal | None = None
) -> dict[str, float]:
    """Runs in Go: github.com/apium/apium/internal/stubs_test.goTasks.func3."""
    raise NotImplementedError("shop.tasks.price runs in Go")
