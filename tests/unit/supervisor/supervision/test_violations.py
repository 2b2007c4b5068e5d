"""What processes tried is charged to whoever did it, at once or gathered, and is kept while nobody can be told."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.supervisor.process.syscall_monitor import Violation
from tlsrt.supervisor.supervision.violations import DIFFERENCE, KILLED, REFUSED, Violations

TRIED, ENDED = Violation("socket", "socket(2)", ends=False), Violation("execve", "execve(0)", ends=True)


class Stage:
    """The authority, which may be away, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.charged: list[tuple[Any, ...]] = []
        self.is_away = False
        self._due: list[Callable[[], None]] = []
        self.told: list[str] = []
        warning = lambda name, text: self.told.append(f"{name}: {text}")  # noqa: E731
        silent = SimpleNamespace(bad=self.ignore, emit=self.ignore, warning=warning)
        placed = {"third.lamp": [SimpleNamespace(address="third/lamp")], "third": [1, 2]}
        current = SimpleNamespace(config=SimpleNamespace(components_of=placed.__getitem__))
        event_loop = SimpleNamespace(call_later=lambda seconds, callback: self._due.append(callback))
        context = SimpleNamespace(console=silent, events=silent, event_loop=event_loop, current=current)
        self.violations = Violations(
            cast(Any, context), cast(Any, SimpleNamespace(channel=SimpleNamespace(charge=self.charge)))
        )

    def ignore(self, *args: object, **fields: object) -> None:
        pass

    def charge(self, *fields: object) -> bool:
        if not self.is_away:
            self.charged.append(fields)
        return not self.is_away

    def wait(self) -> bool:
        """Let the time pass for which is gathered; tell whether anybody waited for it."""
        due, self._due = self._due, []
        for callback in due:
            callback()
        return bool(due)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_first_is_charged_at_once_and_the_next_ones_together(stage: Stage) -> None:
    for _ in range(5):
        stage.violations.note("third", 7, 100, TRIED)
    assert stage.charged == [("third", 7, REFUSED, 1, "socket")]
    stage.wait()
    assert stage.charged[1:] == [("third", 7, REFUSED, 4, "socket")]
    stage.wait()
    assert not stage.wait(), "nobody is waited for who does nothing more"
    stage.violations.note("third", 7, 100, TRIED)
    assert stage.charged[2:] == [("third", 7, REFUSED, 1, "socket")]


def test_who_goes_on_after_a_respawn_is_charged_as_who_he_is_now(stage: Stage) -> None:
    """What is charged to a process that is dead counts little, so nobody must be able to hide behind one."""
    stage.violations.note("third", 7, 100, TRIED)
    stage.violations.note("third", 7, 100, ENDED)
    for _ in range(3):
        stage.violations.note("third", 8, 101, TRIED)
        stage.wait()
    assert stage.charged[1:] == [
        ("third", 7, KILLED, 1, "execve"), *[("third", 8, REFUSED, 1, "socket")] * 3
    ]  # fmt: skip


def test_what_could_not_be_said_is_said_when_somebody_hears_it(stage: Stage) -> None:
    stage.is_away = True
    stage.violations.note("forth", 1, 50, TRIED)
    stage.violations.differs("forth", 1, "uid 0")
    for _ in range(3):
        assert stage.wait()
    stage.is_away = False
    stage.wait()
    assert sorted(stage.charged) == [("forth", 1, DIFFERENCE, 1, "attestation"), ("forth", 1, REFUSED, 1, "socket")]


def test_two_processes_have_nothing_to_do_with_each_other(stage: Stage) -> None:
    stage.violations.note("forth", 1, 50, TRIED)
    stage.violations.note("third", 7, 100, TRIED)
    assert [fields[0] for fields in stage.charged] == ["forth", "third"]
    assert stage.violations.of("forth").count == stage.violations.of("third").count == 1


def test_a_host_that_no_rule_lists_is_told_once_with_what_to_do_and_charged_to_nobody(stage: Stage) -> None:
    for _ in range(100):
        stage.violations.note("third.lamp", 7, 100, Violation("connect", "x", False, "192.0.2.7:8883"))
    stage.violations.note("third", 7, 100, Violation("connect", "x", False, "[2001:db8::1]:53/udp"))
    assert stage.told == [
        "third.lamp: third/lamp wants 192.0.2.7:8883/tcp, and no egress rule lists it: "
        "add 192.0.2.7:8883 to the egress of its needs, if it should",
        "third: third wants [2001:db8::1]:53/udp, and no egress rule lists it: "
        'add "[2001:db8::1]:53/udp" to the egress of its needs, if it should',
    ]
    assert not stage.charged and stage.violations.of("third.lamp").count == 0
    assert stage.violations.of("third.lamp").wanted == ["192.0.2.7:8883"]


def test_few_hosts_are_kept_for_status(stage: Stage) -> None:
    for port in range(1, 100):
        stage.violations.note("third", 7, 100, Violation("connect", "x", False, f"192.0.2.7:{port}"))
    assert stage.violations.of("third").wanted == [f"192.0.2.7:{port}" for port in range(92, 100)]
