"""Mistakes that authors make, and the one sentence that each of them meets when the class is made."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import enum
import functools
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tlsrt.errors import MisuseError
from tlsrt.loops.component.component import Component, handler

WIRE = "The wire carries None, bool, int, float, str, bytes, list"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Water:
    def __init__(self, litres: float) -> None: ...


@dataclass
class Changing:
    litres: float = 1


def sync(self: Any) -> str: ...
async def bare(self: Any): ...  # type: ignore[no-untyped-def]
async def untyped(self: Any, times) -> str: ...  # type: ignore[no-untyped-def]
async def at(self: Any, when: datetime) -> str: ...
async def color(self: Any, which: Color) -> str: ...
async def path(self: Any, file: Path) -> str: ...
async def ident(self: Any, of: UUID) -> str: ...
async def items(self: Any, of: Sequence[int]) -> str: ...
async def water(self: Any, of: Water) -> str: ...
async def changing(self: Any, of: Changing) -> str: ...
async def when(self: Any) -> datetime: ...
async def none(self: Any, times: int = None) -> str: ...  # type: ignore[assignment]  # noqa: RUF013
async def missing(self: Any, of: Elsewhere) -> str: ...  # type: ignore[name-defined]  # noqa: F821
async def nothing() -> str: ...
async def forgot(times: int) -> str: ...
async def text_upload(self: Any, data: AsyncIterator[str]) -> str: ...


def wrapped() -> Callable[..., Any]:
    @functools.wraps(at)
    def inner(*given: Any) -> Any:
        return at(*given)

    return inner


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (sync, "Kettle.boil: a handler must be `async def`"),
        (wrapped(), "Kettle.boil: a handler must be `async def`, and so must be what its decorator makes of it"),
        (bare, "Kettle.boil: has no return annotation; write `-> None` if it returns nothing"),
        (untyped, "Kettle.boil, parameter times: has no annotation; write `times: int`, or Any for anything"),
        (at, f"Kettle.boil, parameter when: unsupported type datetime; use a float of seconds since 1970, or text "
             f"instead. {WIRE}"),
        (color, f"Kettle.boil, parameter which: unsupported type Color; use Literal['red', 'blue'] instead. {WIRE}"),
        (path, f"Kettle.boil, parameter file: unsupported type Path; use str instead. {WIRE}"),
        (ident, f"Kettle.boil, parameter of: unsupported type UUID; use str instead. {WIRE}"),
        (items, f"Kettle.boil, parameter of: unsupported type Sequence; use list instead. {WIRE}"),
        (water, "Kettle.boil, parameter of: unsupported type Water; use a frozen dataclass (@dataclass(frozen=True))"),
        (changing, "Kettle.boil, parameter of: dataclass Changing must be frozen: @dataclass(frozen=True)"),
        (when, "Kettle.boil (return): unsupported type datetime; use a float"),
        (none, "Kettle.boil, parameter times: its default is not of type int; write `times: int | None = None`"),
        (missing, "Kettle.boil: cannot resolve its annotations at run time: name 'Elsewhere' is not defined; import "
                  "what they name outside of `if TYPE_CHECKING:`"),
        (nothing, "Kettle.boil: the first parameter of a handler is self"),
        (forgot, "Kettle.boil: the first parameter of a handler is self"),
        (text_upload, "Kettle.boil, parameter data: an upload is a stream of bytes, annotate it as"),
    ],
)  # fmt: skip
def test_a_handler_that_cannot_be_one(function: Callable[..., Any], sentence: str) -> None:
    with pytest.raises(MisuseError, match=f"^{re.escape(sentence)}"):
        type("Kettle", (Component,), {"boil": handler(function)})


@pytest.mark.parametrize("inside_out", [staticmethod, classmethod, property])
def test_a_decorator_around_handler_hides_no_handler(inside_out: Callable[[Any], Any]) -> None:
    async def boil(self: Any) -> str: ...

    with pytest.raises(MisuseError, match=r"Kettle.boil: @handler belongs on a plain method, and on the outside"):
        type("Kettle", (Component,), {"boil": inside_out(handler(boil))})


def test_handler_with_a_value_says_how_to_write_it() -> None:
    with pytest.raises(MisuseError, match=r"not of True; write @handler or @handler\(idempotent=True\)$"):
        handler(True)  # type: ignore[call-overload]


async def start(self: Any, options: object) -> None: ...
async def healthy(self: Any, deep: bool) -> None: ...


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"start": start}, "Kettle.start takes options, but the runtime calls it with nothing"),
        ({"healthy": healthy}, "Kettle.healthy takes deep, but the runtime calls it with nothing"),
        ({"topics": ["changed"]}, "Kettle.topics must be a dict, such as {'changed': 'what has changed'}"),
    ],
)
def test_what_the_runtime_calls_and_reads(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MisuseError, match=f"^{re.escape(sentence)}$"):
        type("Kettle", (Component,), body)
