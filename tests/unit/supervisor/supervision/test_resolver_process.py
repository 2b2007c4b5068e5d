"""Questions to the resolver: one that is not answered ends it, and all that wait with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.resolver import Outcome
from tlsrt.config.resolver import NameServer
from tlsrt.config.supervision import RestartConfig
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.supervision import resolver_process as module
from tlsrt.supervisor.supervision.resolver_process import LATE_S, ResolverProcess


class Stage(ResolverProcess):
    """One whose channel and end are noted, with a clock of its own."""

    def __init__(self) -> None:
        self.timers: list[SimpleNamespace] = []
        self.killed: list[tuple[str, Cause]] = []
        current = SimpleNamespace(
            config=SimpleNamespace(supervision=SimpleNamespace(restart=RestartConfig())), children=None
        )
        super().__init__(cast("Any", SimpleNamespace(current=current, event_loop=self, chance=None)))
        self._channel = cast("Any", SimpleNamespace(send=lambda *_, **__: None))

    @property
    def is_attested(self) -> bool:
        return True

    def kill(self, reason: str, cause: Cause = Cause.PROTOCOL) -> None:
        self.killed.append((reason, cause))

    def call_later(self, delay_s: float, then: Callable[[], None]) -> SimpleNamespace:
        timer = SimpleNamespace(delay_s=delay_s, then=then, is_set=True)
        timer.cancel = lambda: setattr(timer, "is_set", False)
        self.timers.append(timer)
        return timer


def test_a_question_has_a_deadline_until_it_is_answered_or_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "connected_socket", lambda server, *, is_stream: os.dup(0))
    resolver = Stage()
    heard: list[Outcome] = []
    for _ in range(2):
        resolver.ask(
            "example.org", NameServer("192.0.2.1"), 5.0, lambda outcome, *_: heard.append(outcome), is_six=False,
            is_stream=False,
        )  # fmt: skip
    first, second = resolver.timers
    assert first.delay_s == 5.0 + LATE_S
    resolver.take("heard", SimpleNamespace(number=1, outcome=Outcome.SILENT, ttl_s=0, addresses=b""), [])
    assert heard == [Outcome.SILENT] and not first.is_set and second.is_set
    second.then()
    assert resolver.killed == [("does not answer", Cause.DEADLINE)]
    resolver.lost()
    assert heard == [Outcome.SILENT, Outcome.FAILED] and not second.is_set
