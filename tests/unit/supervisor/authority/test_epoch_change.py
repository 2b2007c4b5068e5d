"""A change of profiles as the authority carries it out: held, moved without grace, and never half."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from hosts.authority_host import ADMIN, Client

from tlsrt.supervisor.authority.epoch_change import RETRY_MS
from tlsrt.supervisor.authority.keys.epochs import MOVE_PREPARE_MS
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.authority.model.state_writer import NOT_WRITTEN


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    return FakeAuthorityService(tmp_path, store)


def acknowledge(stage: FakeAuthorityService, *loops: tuple[str, int], epoch: int) -> None:
    for loop, incarnation in loops:
        stage.hear(loop, "prepared", epoch)
        stage.ask("attested", loop, incarnation, epoch)


def moved(stage: FakeAuthorityService) -> list[tuple[Any, ...]]:
    return [item[1:] for item in stage.told if item[0] == "moved"]


def test_a_move_leaves_no_grace_and_says_when_it_is_done(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY, THIRD)
    assert stage.hold(9)
    stage.changes.move(1, stage.now)
    assert [item[2] for item in stage.told if item[0] == "beat"][-1] == 6, "the supervisor is asked to look at all"
    acknowledge(stage, PRIMARY, SECONDARY, epoch=6)
    assert moved(stage) == [] and stage.of("third", "commit") == [(5, 5000)]
    acknowledge(stage, THIRD, epoch=6)
    assert moved(stage) == [(1, 6)]
    for loop in ("primary", "secondary", "third"):
        assert stage.of(loop, "commit")[-1] == (6, 0)


def test_a_move_that_only_adds_leaves_the_grace_of_a_timed_change_and_the_next_one_none(
    stage: FakeAuthorityService,
) -> None:
    stage.join(PRIMARY, SECONDARY)
    for number, (only_adds, grace_ms) in enumerate([(True, 5000), (True, 5000), (False, 0)], 1):
        assert stage.hold(8 + number, only_adds=only_adds)
        stage.changes.move(number, stage.now)
        acknowledge(stage, PRIMARY, SECONDARY, epoch=5 + number)
        assert stage.of("secondary", "commit")[-1] == (5 + number, grace_ms)


def test_sessions_that_are_all_revoked_in_a_move_that_adds_leave_no_grace(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY)
    done: list[int] = []
    assert stage.hold(9, only_adds=True)
    stage.changes.move(1, stage.now)
    stage.changes.leave(stage.now, done.append)
    acknowledge(stage, PRIMARY, SECONDARY, epoch=6)
    assert stage.of("secondary", "commit")[-1] == (6, 0) and done == [6] and moved(stage) == [(1, 6)]


def test_sessions_that_are_all_revoked_before_a_move_that_adds_leave_no_grace(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY)
    done: list[int] = []
    assert stage.hold(9, only_adds=True)
    stage.changes.leave(stage.now, done.append)
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, SECONDARY, epoch=6)
    assert stage.of("secondary", "commit")[-1] == (6, 0) and done == [6]


def test_a_client_is_told_that_there_is_no_grace(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY)
    client = Client(ADMIN)
    stage.open(1, client)
    stage.hold(9)
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, epoch=6)
    stage.pass_time(1)
    issuer = stage.of("primary", "welcome")[0][2]
    contents = [client.read(issuer, list(fields)) for fields in stage.of("primary", "granted")]
    assert [(content.epoch, content.grace_ms) for content in contents] == [(5, 5000), (6, 0)]


def test_from_the_check_to_the_commit_nobody_new_gets_keys(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    stage.hold(9)
    stage.join(SECONDARY)
    assert stage.of("secondary", "welcome") == []
    stage.changes.move(1, stage.now)
    stage.join(SECONDARY)
    assert stage.of("secondary", "welcome") == []
    acknowledge(stage, PRIMARY, THIRD, epoch=6)
    assert len(stage.of("secondary", "welcome")) == 1
    assert {fields[0] for fields in stage.of("secondary", "epoch")} == {6}, "and then none of the epoch before"


def test_who_does_not_acknowledge_in_five_seconds_is_refused_everywhere(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY, THIRD)
    session = stage.of("third", "session")[0][2]
    stage.hold(9)
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, SECONDARY, epoch=6)
    stage.pass_time(MOVE_PREPARE_MS - 1)
    assert moved(stage) == []
    stage.pass_time(1)
    assert moved(stage) == [(1, 6)]
    assert stage.of("third", "commit") == [(5, 5000)]
    for verifier in ("primary", "secondary"):
        assert session in {fields[2] for fields in stage.of(verifier, "revoked")}
    assert stage.of("primary", "member")[-1] == ("third", 0, 0, ["third/console"]), (
        "the gate takes nothing from it any more"
    )
    assert [item[1] for item in stage.told if item[0] == "event"] == ["unprepared", "unattested"]


def test_a_move_waits_for_a_change_that_is_under_way(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY)
    stage.changes.begin_timed(stage.now)
    assert stage.hold(9)
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, epoch=6)
    assert stage.of("primary", "commit")[-1] == (6, 5000) and moved(stage) == []
    acknowledge(stage, PRIMARY, epoch=7)
    assert stage.of("primary", "commit")[-1] == (7, 0) and moved(stage) == [(1, 7)]


def test_the_timed_epoch_waits_for_a_move(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY)
    stage.hold(9)
    stage.changes.begin_timed(stage.now)
    assert len(stage.of("primary", "prepare")) == 1
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, epoch=6)
    stage.pass_time(2_100)
    assert [fields[0] for fields in stage.of("primary", "prepare")] == [5, 6, 7], "then it comes all the same"


def test_a_resumed_authority_finishes_a_move(tmp_path: Path, store: int) -> None:
    stage = FakeAuthorityService(tmp_path, store, resumed=True)
    stage.changes.move(4, stage.now)
    for loop in (PRIMARY, SECONDARY, THIRD):
        stage.ask("attested", *loop, 5)
        stage.hear(loop[0], "prepared", 5)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    assert stage.of("third", "commit") == [(5, 5000), (6, 0)]
    assert moved(stage) == [(4, 6)]


def test_the_seal_is_written_with_the_epoch_and_not_before(stage: FakeAuthorityService, store: int) -> None:
    stage.join(PRIMARY)
    stage.hold(9)
    assert (StateFile(store).load().epoch, StateFile(store).load().seal) == (6, 0)
    stage.changes.move(1, stage.now)
    assert (StateFile(store).load().epoch, StateFile(store).load().seal) == (6, 9)


def test_a_disk_that_refuses_changes_nothing(stage: FakeAuthorityService, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.join(PRIMARY)
    real = os.fsync

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    assert not stage.hold(9)
    stage.join(SECONDARY)
    assert stage.of("secondary", "welcome") != []
    monkeypatch.setattr(os, "fsync", real)
    assert stage.hold(9)
    monkeypatch.setattr(os, "fsync", refuse)
    stage.changes.move(1, stage.now)
    assert len(stage.of("primary", "prepare")) == 1, "an epoch is on the disk before it is used"
    monkeypatch.setattr(os, "fsync", real)
    stage.pass_time(10_000)
    assert [fields[0] for fields in stage.of("primary", "prepare")] == [5, 6]


def test_an_epoch_that_all_have_to_leave_waits_while_a_move_makes_room(stage: FakeAuthorityService) -> None:
    """Else it would take the epoch, the rights and the seal of the move, before the supervisor has taken its state."""
    stage.join(PRIMARY, SECONDARY, THIRD)
    stage.store.is_held = True
    held: list[str] = []
    stage.changes.hold(9, None, lambda: held.append("held"), held.append)
    stage.changes.leave(stage.now, lambda epoch: held.append(f"left {epoch}"))
    stage.store.is_held = False
    stage.dispatcher.tick(stage.moment)
    assert held == ["held"] and stage.changes.is_held
    assert stage.state.seal != 9 and stage.context.epochs.pending is None
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    stage.pass_time(RETRY_MS + 1)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=7)
    assert [word for word in held if word.startswith("left")], "and it is left in the end"


def test_a_move_that_the_disk_refuses_lets_go_what_waits(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY, THIRD)
    stage.store.is_held = True
    held: list[str] = []
    stage.changes.hold(9, None, lambda: held.append("held"), held.append)
    stage.changes.leave(stage.now, lambda epoch: held.append(f"left {epoch}"))
    stage.store.is_full, stage.store.is_held = True, False
    stage.dispatcher.tick(stage.moment)
    stage.store.is_full = False
    assert held == [NOT_WRITTEN] and not stage.changes.is_held
    stage.pass_time(RETRY_MS + 1)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    assert held[1:] == ["left 6"]
