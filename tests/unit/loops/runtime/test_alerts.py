"""Alerts of a process: which number each has, and what becomes of too many. Pure, with the clock of the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tlsrt.channels.control.life import ALERT_TIMES_MAX, ALERTS_AT_ONCE
from tlsrt.config.alerts import AlertConfig
from tlsrt.config.components import ComponentConfig
from tlsrt.config.needs import NeedsConfig
from tlsrt.errors import MisuseError, PeerError
from tlsrt.loops.runtime.alerts import ProcessAlerts


class Granted:
    """A configuration with three alerts in one process."""

    def components_of(self, process: str) -> list[ComponentConfig]:
        odd, new = AlertConfig("odd", "why"), AlertConfig("new", "why")
        return [
            ComponentConfig("primary", "kernel", "x:X", needs=NeedsConfig(alerts=(odd,))),
            ComponentConfig("primary", "hardware", "x:X", needs=NeedsConfig(alerts=(odd, new))),
        ]


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[tuple[int, int]] = []
        self.is_full = False
        self.waiting: list[Callable[[], None]] = []
        self.alerts = ProcessAlerts(cast("Any", Granted()), "primary.facts", self.say, lambda: self.now, self.later)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.waiting.append(call)

    def pass_s(self, seconds: float) -> None:
        """Let time pass, and what waits for it have its turn."""
        self.now += seconds
        self.waiting.pop()()

    def say(self, number: int, times: int) -> None:
        if self.is_full:
            raise PeerError("full")
        self.sent.append((number, times))


def test_each_has_its_number() -> None:
    scene = Scene()
    for address, name in (("primary/kernel", "odd"), ("primary/hardware", "new"), ("primary/hardware", "odd")):
        scene.alerts.report(address, name)
    assert scene.sent == [(0, 1), (2, 1), (1, 1)]


@pytest.mark.parametrize(("address", "name"), [("primary/kernel", "new"), ("third/x", "odd"), ("primary/kernel", "")])
def test_another_one_is_a_misuse(address: str, name: str) -> None:
    scene = Scene()
    with pytest.raises(MisuseError, match="needs: alerts"):
        scene.alerts.report(address, name)
    assert scene.sent == []


def test_what_is_too_much_is_counted_in_the_next_one() -> None:
    scene = Scene()
    for _ in range(5000):
        scene.alerts.report("primary/kernel", "odd")
    assert scene.sent == [(0, 1)] * ALERTS_AT_ONCE
    assert len(scene.waiting) == 1
    scene.pass_s(1.0)
    assert scene.sent[-1] == (0, ALERT_TIMES_MAX)
    assert scene.waiting == []
    scene.now = 2.0
    scene.alerts.report("primary/kernel", "odd")
    assert scene.sent[-1] == (0, 1)


def test_none_is_hidden_by_many_others() -> None:
    scene = Scene()
    for _ in range(20):
        scene.alerts.report("primary/kernel", "odd")
    scene.alerts.report("primary/hardware", "new")
    assert all(number == 0 for number, _ in scene.sent)
    scene.pass_s(5.0)
    assert scene.sent[-2:] == [(0, 10), (2, 1)], "with no further report"


def test_a_supervisor_that_does_not_read_is_told_later() -> None:
    scene = Scene()
    scene.is_full = True
    scene.alerts.report("primary/kernel", "odd")
    scene.alerts.report("primary/kernel", "odd")
    scene.is_full = False
    scene.pass_s(1.0)
    assert scene.sent == [(0, 2)]
