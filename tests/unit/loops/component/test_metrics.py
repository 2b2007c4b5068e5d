"""Figures of a component: kept by name, bounded, shown by the method `metrics`, and lines of the log with `extra`."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Awaitable
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import pytest

from tlsrt import Component, handler
from tlsrt.errors import MisuseError
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.component.metrics import NAMES_MOST, Metrics
from tlsrt.loops.log_lines import LineFormatter


class Sender(Component):
    """Sends."""

    @handler
    async def send(self) -> None:
        """Send once."""
        self.count("sent")
        self.count("bytes", 512)
        self.gauge("depth", 3)
        with self.time("infer"):
            pass


def called(component: Component, method: str, *args: object) -> Any:
    async def once() -> object:
        return await cast("Awaitable[object]", invoke(component, method, args, {}, subject="client/a"))

    return asyncio.run(once())


def test_metrics_is_a_method_of_every_component() -> None:
    sender = Sender()
    called(sender, "send")
    called(sender, "send")
    found = called(sender, "metrics")
    assert found["counters"] == {"sent": 2, "bytes": 1024} and found["gauges"] == {"depth": 3}
    assert found["times"]["infer"]["count"] == 2 and found["dropped"] == 0


def test_a_class_may_use_the_names_for_something_else() -> None:
    class Other(Component):
        time = 0

        @handler
        async def count(self, to: int) -> int:
            self.gauge = to
            return int(self.gauge + self.time)

        @handler
        async def metrics(self) -> str:
            return "mine"

    assert called(Other(), "count", 3) == 3 and called(Other(), "metrics") == "mine"


def test_times_are_kept_also_of_a_block_that_fails() -> None:
    clock = iter([1.0, 3.0, 10.0, 11.0])
    metrics = Metrics(lambda: next(clock))
    with metrics.timer("infer"):
        pass
    with pytest.raises(ValueError, match="x"), metrics.timer("infer"):
        raise ValueError("x")
    assert metrics.document()["times"] == {"infer": {"count": 2, "total_s": 3.0, "max_s": 2.0}}


def test_names_are_bounded_in_number_and_in_form() -> None:
    metrics = Metrics()
    for number in range(NAMES_MOST + 5):
        metrics.gauge(f"n{number}", number)
    metrics.count("more", 1)
    metrics.gauge("n0", 7)
    found = metrics.document()
    assert len(found["gauges"]) == NAMES_MOST and found["gauges"]["n0"] == 7
    assert found["dropped"] == 6 and found["counters"] == {}
    for name in ("", "A", "a b", "x" * 65, "ä"):
        with pytest.raises(MisuseError, match="names no figure"):
            Metrics().count(name, 1)


def test_a_value_is_a_plain_number_or_an_error_of_the_caller() -> None:
    class Odd(float):
        pass

    metrics = Metrics()
    metrics.count("bytes", 2)
    for value in (Decimal("0.5"), Fraction(1, 2), Odd(0.5), True):
        metrics.gauge("share", cast("float", value))
        metrics.count("shares", cast("float", value))
        assert type(metrics.document()["gauges"]["share"]) is float
    found = metrics.document()["counters"]
    assert found == {"bytes": 2, "shares": 2.5} and type(found["bytes"]) is int
    for bad in (None, "much", [1], 1j, Fraction(10**400)):
        with pytest.raises(MisuseError, match=r"'share': \w+ is no number; give"):
            metrics.gauge("share", cast("float", bad))
        with pytest.raises(MisuseError, match="is no number"):
            metrics.count("shares", cast("float", bad))


def test_no_count_of_a_thread_is_lost() -> None:
    metrics = Metrics()

    def many() -> None:
        for _ in range(5000):
            metrics.count("n", 1)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.document()["counters"] == {"n": 20_000}


@pytest.mark.parametrize(
    ("extra", "end"),
    [
        (None, "sent"), ({"to": "a", "bytes": 3}, "sent to=a bytes=3"), ({"to": "a b"}, 'sent to="a b"'),
        ({"to": ""}, 'sent to=""'), ({"to": "a\n2026 ERROR x: y"}, r'sent to="a\n2026 ERROR x: y"'),
        ({"to": 'a" by="b'}, r'sent to="a\" by=\"b"'), ({"to": None}, "sent to=None"),
        ({"to": "x" * 1000}, f"sent to={'x' * 512}"),
    ],
)  # fmt: skip
def test_what_extra_says_follows_as_key_and_value(extra: dict[str, object] | None, end: str) -> None:
    stream = io.StringIO()
    handler_ = logging.StreamHandler(stream)
    handler_.setFormatter(LineFormatter())
    log = logging.Logger("third/x")
    log.addHandler(handler_)
    log.info("sent", extra=extra)
    line = stream.getvalue().removesuffix("\n")
    assert line.endswith(f"INFO third/x: {end}") and "\n" not in line
