"""What the supervisor makes of requests to rotate, with an authority and loops that say what the test wants."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.config import key_rotation as rotate
from tlsrt.config.init import initialise
from tlsrt.config.issuer_chain import SealRecord
from tlsrt.config.load import load_config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.console import TerminalConsole
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.reload import key_rotation as rotation
from tlsrt.supervisor.reload.key_rotation import KeyRotation
from tlsrt.supervisor.supervision.running_changes import RunningChanges

Answer = dict[str, Any]


class FakeAuthority:
    """An authority that is asked, and answers by the test."""

    def __init__(self) -> None:
        self.is_booted = True
        self.is_there = True
        self.asked: list[tuple[Any, ...]] = []
        self.files = SimpleNamespace(token=-1, measurement=-1, take=self.take)
        self.channel = self.reports = self

    def take(self, token: int) -> None:
        self.files.token = token

    def rotate(self, number: int, *, with_keys: bool) -> bool:
        self.asked.append(("rotate", number, with_keys))
        return self.is_there

    def rekey(self, number: int, master_key: int, boot_token: int, measurement: int) -> bool:
        self.asked.append(("rekey", number))
        return self.is_there

    def keys(self, now: float) -> Answer:
        return {"key_version": 2, "previous_verifies_s": 60.0}


class RotationHost:
    """A rotation with everything around it."""

    def __init__(self, folder: Path) -> None:
        self.config = load_config(folder / "tlsrt.yaml")
        self.event_loop = EventLoop()
        self.authority = FakeAuthority()
        self.loops = [
            SimpleNamespace(name=name, is_trusted=True, process=SimpleNamespace(beat=SimpleNamespace(epoch=5)))
            for name in ("primary", "third")
        ]
        self.events: list[str] = []
        self.screen = io.StringIO()
        self.changes = RunningChanges()
        events = SimpleNamespace(emit=lambda name, *words, **fields: self.events.append(name))
        context = SimpleNamespace(
            current=SimpleNamespace(config=self.config),
            event_loop=self.event_loop,
            console=TerminalConsole(self.screen),
            events=events,
        )
        loops = SimpleNamespace(all=self.loops)
        self.rotation = KeyRotation(context, loops, self.authority, self.changes)  # type: ignore[arg-type]
        self.answers: list[Answer] = []

    def ask(self, *, master: bool = False) -> None:
        self.rotation.ask(self.answers.append, master=master)

    def beat(self, *epochs: int) -> None:
        for loop, epoch in zip(self.loops, epochs, strict=True):
            loop.process.beat.epoch = epoch
            self.rotation.loop_changed(loop)  # type: ignore[arg-type]

    def checked(self, *fields: Any) -> None:
        self.rotation.messages()["rekeyed"](fields)

    def rotated(self, *fields: Any) -> None:
        self.rotation.messages()["rotated"](fields)

    def stage(self) -> None:
        rotate.stage(self.config, SealRecord())

    @property
    def version(self) -> int:
        return rotate.version_in_force(self.config)

    def turn(self) -> None:
        """Let the event loop do what it was given."""
        self.event_loop.call_later(0, lambda: None)
        self.event_loop.run_once()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RotationHost]:
    folder = tmp_path / "var"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC))
    made = RotationHost(folder)
    yield made
    made.rotation.stopping()
    made.event_loop.close()


def test_it_is_over_when_every_loop_says_that_it_has_it(host: RotationHost) -> None:
    host.ask()
    assert host.authority.asked == [("rotate", 1, False)]
    host.rotated(1, 6, 12, ["forth"], [])
    host.beat(6, 5)
    assert host.answers == []
    host.beat(6, 6)
    [answer] = host.answers
    assert (answer["epoch"], answer["committed_ms"], answer["late"]) == (6, 12, ["forth"])
    assert answer["took_ms"] >= 0
    host.beat(7, 7)
    assert len(host.answers) == 1
    assert host.events == []


def test_a_loop_that_died_meanwhile_holds_up_nobody(host: RotationHost) -> None:
    host.ask()
    host.rotated(1, 6, 12, ["third"], [])
    host.loops[1].is_trusted = False
    host.beat(6, 5)
    assert host.answers[0]["late"] == ["third"]


def test_one_after_the_other(host: RotationHost) -> None:
    host.ask()
    host.ask()
    host.rotated(1, 6, 1, [], [])
    assert len(host.authority.asked) == 1
    host.beat(6, 6)
    host.turn()
    assert host.authority.asked[1:] == [("rotate", 2, False)]
    host.rotated(1, 6, 1, [], [])  # said again, and of the one before
    assert len(host.answers) == 1
    host.rotated(2, 7, 1, [], [])
    host.beat(7, 7)
    assert [answer["epoch"] for answer in host.answers] == [6, 7]


def test_the_end_of_the_host_is_said_to_all_who_wait(host: RotationHost) -> None:
    host.ask()
    host.ask()
    host.rotation.stopping()
    host.ask()
    assert host.answers == [{"error": "stopping"}] * 3
    assert len(host.authority.asked) == 1


def test_an_authority_that_comes_again_is_asked_again(host: RotationHost) -> None:
    host.ask()
    host.rotation.authority_lost()
    assert host.answers == []
    host.rotation.authority_booted()
    assert host.authority.asked == [("rotate", 1, False)] * 2
    host.rotated(1, 8, 1, [], [])
    host.rotation.authority_booted()  # it was committed: the loops' word is awaited only
    assert len(host.authority.asked) == 2
    host.beat(8, 8)
    assert host.answers[0]["epoch"] == 8


@pytest.mark.parametrize("master", [False, True])
def test_a_host_that_has_not_started(host: RotationHost, master: bool) -> None:
    host.authority.is_booted = False
    host.ask(master=master)
    assert "the authority is not serving now" in host.answers[0]["refused"][0] and host.answers[0]["passes"]


def test_a_disk_that_refuses(host: RotationHost) -> None:
    host.ask()
    host.rotated(1, 0, 0, [], ["make room"])
    assert host.answers == [{"refused": ["make room"]}]
    assert host.screen.getvalue() == "rotate        warning refused: make room\n", "there is no event that tells of it"


def test_one_that_takes_too_long_says_who_is_behind(host: RotationHost) -> None:
    host.ask()
    host.rotated(1, 6, 1, [], [])
    host.beat(6, 5)
    host.rotation._too_slow()
    assert host.answers[0]["failed"] == ["not every loop works in a new epoch after 90 s, `status` shows it: third"]
    assert host.screen.getvalue().startswith("rotate        warning failed: not every loop")
    host.turn()
    host.ask()
    host.rotation._too_slow()
    assert host.answers[1]["failed"][0].endswith("the authority")


def test_another_master_key_is_put_in_force_when_it_was_checked(host: RotationHost) -> None:
    host.stage()
    host.ask(master=True)
    assert host.authority.asked == [("rekey", 1)]
    assert host.changes.is_rekeying
    assert host.version == 1
    host.rotated(1, 6, 1, [], [])  # it was not asked for yet
    host.checked(1, True, ["a warning"])
    assert host.version == 2
    assert not host.changes.is_rekeying
    assert host.authority.files.token >= 0
    assert host.authority.asked == [("rekey", 1), ("rotate", 1, True)]
    host.rotated(1, 6, 1, [], [])
    host.beat(6, 6)
    assert host.answers[0]["key_version"] == 2
    assert host.events == ["rotated"]


def refused(host: RotationHost) -> str:
    """Return why a rotation was refused, which has changed nothing."""
    [answer] = host.answers
    assert host.version == 1
    assert host.authority.files.token == -1
    assert ("rotate", 1, True) not in host.authority.asked
    assert not host.changes.is_rekeying
    assert set(host.events) == {"rotate_refused"}
    sentences: list[str] = answer["refused"]
    return "; ".join(sentences)


def test_what_the_authority_refuses(host: RotationHost) -> None:
    host.stage()
    host.ask(master=True)
    host.checked(1, False, ["another", "and one more"])
    assert refused(host) == "another; and one more"
    host.checked(1, True, [])  # and says yes later
    assert host.version == 1


def test_an_authority_that_dies_while_it_checks(host: RotationHost) -> None:
    host.stage()
    host.ask(master=True)
    host.rotation.authority_lost()
    assert "ended while it checked the new key, so nothing was changed" in refused(host)


def test_an_authority_that_cannot_be_asked(host: RotationHost) -> None:
    host.stage()
    host.authority.is_there = False
    host.ask(master=True)
    assert "ended while it checked" in refused(host)


def test_an_authority_that_does_not_answer(host: RotationHost) -> None:
    host.stage()
    host.ask(master=True)
    host.rotation._too_slow()
    assert "has not checked the new key in 90 s, so nothing was changed" in refused(host)


def test_nothing_staged(host: RotationHost) -> None:
    host.ask(master=True)
    assert "boot.token.next: No such file" in refused(host)


def test_a_reload_under_way(host: RotationHost) -> None:
    host.stage()
    host.changes.is_reloading = True
    host.ask(master=True)
    assert refused(host).startswith("a reload is running")


def test_files_that_were_changed_after_the_check(host: RotationHost) -> None:
    host.stage()
    host.ask(master=True)
    token = rotate.next_token(host.config)
    data = token.read_bytes()
    token.unlink()
    token.write_bytes(data)
    host.checked(1, True, [])
    assert "was changed while it was checked" in refused(host)


def test_files_that_were_withdrawn_after_the_check(host: RotationHost) -> None:
    host.stage()
    host.ask(master=True)
    rotate.next_token(host.config).unlink()
    host.checked(1, True, [])
    assert "No such file" in refused(host)


def test_a_folder_that_the_supervisor_may_not_write(host: RotationHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*files: object) -> None:
        raise ConfigError("cannot replace boot.token: Read-only file system")

    monkeypatch.setattr(rotation, "switch", fails)
    host.stage()
    host.ask(master=True)
    host.checked(1, True, [])
    assert "Read-only file system; so nothing was changed; stop tlsrt, rotate, and start it again" in refused(host)


def test_a_switch_whose_lasting_is_in_doubt_goes_on(host: RotationHost, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rotate.switch

    def doubtful(*files: Any) -> None:
        real(*files)
        raise ConfigError("cannot write the folder: Input/output error")

    monkeypatch.setattr(rotation, "switch", doubtful)
    host.stage()
    host.ask(master=True)
    host.checked(1, True, [])
    assert host.version == 2
    assert host.authority.asked[-1] == ("rotate", 1, True)
    assert "warning cannot write the folder: Input/output error\n" in host.screen.getvalue()
