"""Alerts on their way to the authority: what comes while there is none is held, each as one with its sum."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.life import AlertMessage
from tlsrt.config.alerts import AlertConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.supervision.alerts import Alerts

ODD, GRAVE = AlertConfig("odd", "is odd"), AlertConfig("grave", "is grave", "critical")


class Channel:
    """The authority's channel."""

    def __init__(self) -> None:
        self.is_booted, self.takes = True, True
        self.said: list[tuple[str, str, int, str]] = []

    def alert(self, component: str, detector: str, times: int, what: str) -> bool:
        if self.takes:
            self.said.append((component, detector, times, what))
        return self.takes


class Stage:
    def __init__(self) -> None:
        watch = SimpleNamespace(address="third/watch", needs=SimpleNamespace(alerts=(ODD, GRAVE)))
        children = object()
        config = SimpleNamespace(components_of=lambda name: (watch,))
        self.clock = SimpleNamespace(now=1.0)
        context = SimpleNamespace(current=SimpleNamespace(children=children, config=config), event_loop=self.clock)
        self.loop: Any = SimpleNamespace(name="third.watch", managed_by=children)
        self.channel = Channel()
        self.alerts = Alerts(cast("Any", context), cast("Any", SimpleNamespace(channel=self.channel)))

    def report(self, alert: int, times: int = 1) -> None:
        self.clock.now += 1.0
        self.alerts.loop_messages()["alert"](self.loop, AlertMessage(alert, times))


def test_what_comes_without_an_authority_is_held_and_told_once_with_its_sum() -> None:
    stage = Stage()
    stage.channel.is_booted = False
    for _ in range(3):
        stage.report(0, 2)
    stage.report(1)
    assert stage.channel.said == []
    stage.channel.is_booted = True
    stage.alerts.authority_booted()
    assert stage.channel.said == [
        ("third/watch", "alert_warning", 6, "odd: is odd"), ("third/watch", "alert_critical", 1, "grave: is grave")
    ]  # fmt: skip
    stage.alerts.authority_booted()
    assert len(stage.channel.said) == 2


def test_what_the_authority_does_not_take_is_held_for_the_next_one() -> None:
    stage = Stage()
    stage.channel.takes = False
    stage.report(0, 1000)
    stage.report(0, 1000)
    stage.channel.takes = True
    stage.alerts.authority_booted()
    assert stage.channel.said == [("third/watch", "alert_warning", 1000, "odd: is odd")]


def test_what_is_not_granted_is_not_held_either() -> None:
    stage = Stage()
    stage.channel.is_booted = False
    with pytest.raises(PeerError):
        stage.report(2)
    with pytest.raises(PeerError):
        stage.report(0, 0)
    stage.channel.is_booted = True
    stage.alerts.authority_booted()
    assert stage.channel.said == []
