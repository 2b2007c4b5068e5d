"""Figures for the metrics process: memory that cannot be had now ends nothing, and is asked for again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.config.supervision import RestartConfig
from tlsrt.supervisor.supervision import metrics_process as module
from tlsrt.supervisor.supervision.metrics_process import LEAST_S, MetricsProcess


class Stage(MetricsProcess):
    """One whose channel is noted, with a clock of its own."""

    now = 100.0

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.sent: list[tuple[str, int]] = []
        current = SimpleNamespace(
            config=SimpleNamespace(supervision=SimpleNamespace(restart=RestartConfig())), children=None
        )
        context = cast("Any", SimpleNamespace(current=current, event_loop=self, chance=None))
        super().__init__(context, cast("Any", None), cast("Any", self), None, -1)
        self._channel = cast("Any", SimpleNamespace(send=lambda name, number, **_: self.sent.append((name, number))))

    @property
    def is_attested(self) -> bool:
        return True

    def encoded(self, asker: object) -> bytes:
        return b"{}"

    def call_later(self, delay_s: float, then: Callable[[], None]) -> SimpleNamespace:
        self.timers.append((delay_s, then))
        return SimpleNamespace(cancel=lambda: None)


def test_memory_that_cannot_be_had_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [OSError(errno.ENOMEM, "no memory"), OSError(errno.EMFILE, "no descriptor")]

    def sealed(data: bytes, name: str) -> int:
        if failures:
            raise failures.pop()
        return os.dup(0)

    monkeypatch.setattr(module, "sealed_memory", sealed)
    process = Stage()
    process.take("ask", SimpleNamespace(number=7), [])
    for expected_s in (0.0, LEAST_S, LEAST_S):
        [(delay_s, then)], process.timers = process.timers, []
        assert delay_s == expected_s and process.sent == []
        then()
    assert process.sent == [("figures", 7)] and process.timers == []
