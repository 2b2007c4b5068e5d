"""The lock of the host in the authority, with time in the hand of the test and no process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from fakes.ports import NoRecorder
from hosts.authority_host import ADMIN, Client

from tlsrt.channels.control.trust import TRUST
from tlsrt.supervisor.authority.model.state import AuthorityState, StateFile
from tlsrt.supervisor.messages.lock_record import REASON_MAX, LockRecord, new_record, record_of
from tlsrt.supervisor.messages.result_codes import ResultCode

KEYS = {"welcome", "secret_key", "epoch", "session", "rights", "granted", "delegated"}
LOCK = b"L" * 16


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    return FakeAuthorityService(tmp_path, store)


class Refusing(NoRecorder):
    """A recorder whose disk refuses."""

    def before(self, *said: Any) -> None:
        said[5]("nothing can be recorded")


def refuse_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def ask(stage: FakeAuthorityService, verb: str, *fields: object) -> tuple[Any, ...]:
    """Ask as the supervisor does; return the code and rows of the answer."""
    stage.ask(verb, 9, *fields)
    answers = [said for said in stage.told if said[:2] == ("answer", 9)]
    return answers[-1][2], answers[-1][4]


def lock(stage: FakeAuthorityService) -> tuple[Any, ...]:
    return ask(stage, "lock", LOCK, "a test", "operator", 7)


def be_born(stage: FakeAuthorityService, incarnation: int, epoch: int = 6) -> None:
    """Let the supervisor bring the next Primary."""
    stage.ask("spawned", "primary", incarnation)
    stage.hear("primary", "join")
    stage.ask("attested", "primary", incarnation, epoch)


def commit(stage: FakeAuthorityService, *loops: tuple[str, int]) -> int:
    """Let these loops acknowledge the epoch that is under way, and return its number."""
    epoch = int(stage.state.epoch)
    for loop, incarnation in loops:
        stage.ask("attested", loop, incarnation, epoch)
        stage.hear(loop, "prepared", epoch)
    stage.dispatcher.tick(stage.moment)
    return epoch


def names(stage: FakeAuthorityService, loop: str) -> list[str]:
    return [name for at, name, _ in stage.said if at == loop]


def test_a_lock_ends_all_sessions_and_the_epoch_and_is_on_the_disk(stage: FakeAuthorityService, store: int) -> None:
    stage.join(PRIMARY, SECONDARY, THIRD)
    stage.open(1, Client(ADMIN))
    sessions = {fields[2] for loop in ("primary", "secondary", "third") for fields in stage.of(loop, "session")}
    sessions.add(stage.of("primary", "granted")[0][4])
    stage.said.clear()
    assert lock(stage) == (ResultCode.DONE, [])
    assert StateFile(store).load().lock == LockRecord(LOCK, "a test", "operator", 7)
    assert ("lock_state", LOCK, "a test", "operator", 7) in stage.told
    for loop in ("secondary", "third"):
        assert {fields[2] for fields in stage.of(loop, "revoked")} == sessions
    assert commit(stage, SECONDARY, THIRD) == 6
    assert stage.of("third", "commit") == [(6, 0)], "no grace"
    assert not {"session", "rights"} & {*names(stage, "secondary"), *names(stage, "third")}
    assert not KEYS & {*names(stage, "primary")}
    assert {fields[2] for fields in stage.of("third", "epoch")} == {0}, "there is no gate"


def test_it_is_told_before_the_disk_is_asked(stage: FakeAuthorityService, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.join(PRIMARY, THIRD)
    told: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: told.extend(said[0] for said in stage.told))
    lock(stage)
    assert "lock_state" in told


@pytest.mark.parametrize("by", ["client/guard", "a detector"])
def test_a_lock_is_said_to_be_stored_when_it_is_on_the_disk(
    stage: FakeAuthorityService, store: int, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    stage.join(PRIMARY, THIRD)

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        stage.lock.engage("a test", by, stage.moment)
        for _ in range(10):
            stage.pass_time(1_000)
        told = [said[0] for said in stage.told]
        assert "lock_state" in told and "lock_stored" not in told
    for _ in range(10):
        stage.pass_time(1_000)
    record = StateFile(store).load().lock
    assert record is not None and record.by == by
    assert [said for said in stage.told if said[0] == "lock_stored"] == [("lock_stored", record.lock)]


def test_the_primary_of_a_locked_host_gets_the_certificate_and_no_key(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    lock(stage)
    commit(stage, THIRD)
    stage.said.clear()
    be_born(stage, 9)
    assert names(stage, "primary") == ["locked", "door", "serve"]
    assert stage.provisioner.state_of("primary") == "locked"
    assert stage.of("primary", "locked")[0][2:] == (LOCK, 6)
    stage.pass_time(600_000)
    assert not KEYS & {*names(stage, "primary")}


def test_the_process_of_before_is_not_heard_and_gets_nothing(stage: FakeAuthorityService) -> None:
    """Neither the one that had keys, once the host is locked, nor that of the locked door, once it is not."""
    stage.join(PRIMARY, THIRD)
    lock(stage)
    assert not stage.provisioner.may_read("primary")
    stage.said.clear()
    stage.hear("primary", "join")
    stage.ask("attested", "primary", 1, 6)
    assert names(stage, "primary") == []
    be_born(stage, 9)
    assert stage.provisioner.may_read("primary")
    assert ask(stage, "unlock", "operator") == (ResultCode.DONE, [])
    assert not stage.provisioner.may_read("primary")
    stage.said.clear()
    stage.hear("primary", "join")
    stage.ask("attested", "primary", 9, 7)
    commit(stage, THIRD)
    stage.pass_time(60_000)
    assert names(stage, "primary") == []


def test_unlock_gives_everybody_sessions_of_a_new_epoch(stage: FakeAuthorityService, store: int) -> None:
    stage.join(PRIMARY, THIRD)
    before = stage.of("third", "session")[0]
    lock(stage)
    commit(stage, THIRD)
    be_born(stage, 9)
    stage.said.clear()
    assert ask(stage, "unlock", "operator") == (ResultCode.DONE, [])
    assert StateFile(store).load().lock is None
    assert stage.told[-2][0] != "lock_state" and ("lock_state", b"", "", "", 0) in stage.told
    epoch = commit(stage, THIRD)
    be_born(stage, 10, epoch)
    assert {"welcome", "epoch", "session", "serve"} <= {*names(stage, "primary")}
    session = stage.of("third", "session")[-1]
    assert session[0] == epoch == 7 and session[2] != before[2] and session[5] == 10
    assert stage.open(1, Client(ADMIN))[0][1] == "granted"


def test_a_loop_that_comes_while_the_host_is_locked_has_no_session_before_the_unlock(
    stage: FakeAuthorityService,
) -> None:
    stage.join(PRIMARY)
    lock(stage)
    commit(stage)
    stage.join(THIRD)
    assert stage.of("third", "session") == [] and stage.of("third", "commit")
    ask(stage, "unlock", "operator")
    assert [fields[0] for fields in stage.of("third", "session")] == [7]


def test_a_disk_that_refuses_does_not_keep_it_from_locking_but_from_unlocking(
    stage: FakeAuthorityService, store: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.join(PRIMARY, THIRD)
    with monkeypatch.context() as patch:
        refuse_disk(patch)
        assert lock(stage) == (ResultCode.UNWRITTEN, [])
        assert stage.lock.is_locked
        code, [sentence] = ask(stage, "unlock", "operator")
        assert code == ResultCode.UNCHANGED and "stays locked" in sentence and stage.lock.is_locked
    stage.pass_time(1000)
    assert StateFile(store).load().lock is not None, "written later"
    assert ask(stage, "unlock", "operator") == (ResultCode.DONE, [])


def test_what_cannot_be_recorded_does_not_keep_it_from_locking_but_from_unlocking(stage: FakeAuthorityService) -> None:
    stage.recorder.target = Refusing()
    assert lock(stage) == (ResultCode.DONE, [])
    assert ask(stage, "unlock", "operator") == (ResultCode.UNCHANGED, ["nothing can be recorded"])
    assert stage.lock.is_locked
    stage.recorder.target = NoRecorder()
    assert ask(stage, "unlock", "operator") == (ResultCode.DONE, [])


def test_a_second_lock_changes_nothing(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    stage.lock.engage("the first", "a detector", stage.moment)
    first = stage.state.lock
    epoch = stage.state.epoch
    stage.lock.engage("the second", "another", stage.moment)
    assert lock(stage) == (ResultCode.DONE, [])
    assert stage.state.lock == first and stage.state.epoch == epoch
    assert first is not None and (first.reason, first.by) == ("the first", "a detector")


def test_nobody_unlocks_another_lock_than_he_names(stage: FakeAuthorityService) -> None:
    said: list[str] = []
    host_lock = stage.lock
    host_lock.unlock(b"", "operator", stage.moment, said.append)
    lock(stage)
    host_lock.unlock(b"M" * 16, "operator", stage.moment, said.append)
    assert all(said) and len(said) == 2 and host_lock.is_locked
    host_lock.unlock(LOCK, "operator", stage.moment, said.append)
    assert said[-1] == "" and not host_lock.is_locked


def test_an_unlock_that_is_recorded_late_does_not_hit_the_next_lock(stage: FakeAuthorityService) -> None:
    waiting: list[Callable[[], None]] = []

    class Slow(NoRecorder):
        def before(self, *said: Any) -> None:
            waiting.append(said[4])

    said: list[str] = []
    lock(stage)
    stage.recorder.target = Slow()
    for _ in range(2):
        stage.lock.unlock(LOCK, "operator", stage.moment, said.append)
    first, second = waiting
    first()
    stage.lock.engage("again", "a detector", stage.moment)
    second()
    assert said[0] == "" and said[1] and stage.lock.is_locked


@pytest.mark.parametrize("resumed", [False, True])
def test_an_authority_that_comes_again_is_locked(tmp_path: Path, store: int, resumed: bool) -> None:
    state = AuthorityState(epoch=5, boots=2, lock=LockRecord(LOCK, "a test", "operator", 7))
    stage = FakeAuthorityService(tmp_path, store, resumed=resumed, state=state)
    stage.join(PRIMARY, SECONDARY, THIRD)
    commit(stage, SECONDARY, THIRD)
    assert names(stage, "primary")[:3] == ["locked", "door", "serve"]
    assert not KEYS & {*names(stage, "primary")}
    for loop in ("secondary", "third"):
        assert stage.of(loop, "commit") and stage.of(loop, "session") == []
    assert {grace for _, grace in stage.of("third", "commit")} == {0} or not resumed
    assert ask(stage, "unlock", "operator") == (ResultCode.DONE, [])
    commit(stage, SECONDARY, THIRD)
    assert stage.of("third", "session")


def test_epochs_go_on_and_the_locked_primary_hears_of_them(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    lock(stage)
    commit(stage, THIRD)
    be_born(stage, 9)
    stage.changes.begin_timed(stage.now)
    assert commit(stage, THIRD) == 7
    assert [fields[3] for fields in stage.of("primary", "locked")] == [6, 7]


def test_a_locked_primary_is_not_answered_more_often_than_others(stage: FakeAuthorityService) -> None:
    lock(stage)
    be_born(stage, 9)
    for _ in range(50):
        stage.hear("primary", "join")
    assert len(stage.of("primary", "door")) == 1


def test_words_of_a_lock_fit_into_a_line() -> None:
    record = new_record(LOCK, "a\nb\x1b[2J" + "c" * 500, "d" * 500, 7)
    assert record.reason.isprintable() and len(record.reason) <= REASON_MAX and len(record.by) <= 128
    assert new_record(LOCK, " \n", "x", 7).reason
    assert record_of([*record]) == record and record_of([]) is None and record_of([b"", "", "", 0]) is None


@pytest.mark.parametrize("fields", [[b"short", "", "", 0], [LOCK, "", "", True], [LOCK, "", ""], ["x", "", "", 0]])
def test_what_is_no_lock_is_refused(fields: list[Any]) -> None:
    with pytest.raises(ValueError, match="no lock"):
        record_of(fields)


def test_only_some_words_are_allowed_to_a_locked_primary() -> None:
    allowed = {message.name for message in TRUST.messages if "primary" in message.who and "locked" in message.states}
    assert {"open", "delegate", "prepared", "close", "came_from", "took_events"}.isdisjoint(allowed)
    assert {"join", "tried"} <= allowed


@pytest.mark.parametrize("by", ["operator", "a detector"])
def test_a_lock_that_comes_while_an_unlock_waits_for_the_disk_stays(stage: FakeAuthorityService, by: str) -> None:
    assert lock(stage)[0] == ResultCode.DONE
    stage.store.is_held = True
    stage.ask("unlock", 21, "operator")
    if by == "operator":
        stage.ask("lock", 22, b"M" * 16, "again", "operator", 8)
    else:
        stage.lock.engage("seen at the gate", "authority", stage.moment)
    stage.store.is_held = False
    stage.dispatcher.tick(stage.moment)
    answers = {said[1]: said[2] for said in stage.told if said[0] == "answer"}
    assert answers[21] == ResultCode.UNCHANGED, "the unlock is of the lock before"
    assert by != "operator" or answers[22] == ResultCode.DONE
    assert stage.lock.is_locked and stage.store.load().lock is not None
    assert stage.lock.record is not None and stage.lock.record.lock != LOCK


def test_a_lock_beside_an_unlock_that_the_disk_refuses_is_the_one_that_there_is(stage: FakeAuthorityService) -> None:
    assert lock(stage)[0] == ResultCode.DONE
    stage.store.is_full = True
    assert ask(stage, "unlock", "operator")[0] == ResultCode.UNCHANGED
    stage.store.is_full = False
    assert lock(stage)[0] == ResultCode.DONE
    assert stage.lock.record is not None and stage.lock.record.lock == LOCK, "no unlock is under way any more"


@pytest.mark.parametrize("again", [1, 2])
def test_a_lock_stays_however_many_unlocks_wait(
    stage: FakeAuthorityService, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lock(stage)[0] == ResultCode.DONE
    stage.store.is_held = True
    stage.context.writer.keep(stage.now)  # the unlocks wait behind this write, and are decided together
    for number in range(21, 22 + again):
        stage.ask("unlock", number, "operator")
    give = stage.store.give

    def hold(data: bytes) -> None:
        stage.store.is_held = True
        give(data)

    monkeypatch.setattr(stage.store, "give", hold)
    stage.store.is_held = False
    stage.dispatcher.tick(stage.moment)
    assert stage.store.is_held and stage.lock.is_locked, "the unlock is with the disk"
    stage.lock.engage("seen at the gate", "authority", stage.moment)
    monkeypatch.undo()
    stage.store.is_held = False
    for _ in range(3):
        stage.dispatcher.tick(stage.moment)
    assert stage.lock.is_locked and stage.store.load().lock is not None


def test_a_lock_that_the_disk_refuses_is_written_again_once_a_second(
    stage: FakeAuthorityService, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.join(PRIMARY, THIRD)
    writes: list[int] = []
    give = stage.store.give

    def count(data: bytes) -> None:
        writes.append(stage.now)
        give(data)

    monkeypatch.setattr(stage.store, "give", count)
    stage.store.is_full = True
    stage.lock.engage("a test", "authority", stage.moment)
    first = len(writes)
    for _ in range(50):  # whatever else wakes the authority
        stage.dispatcher.tick(stage.moment)
    assert len(writes) == first
    stage.pass_time(10_000)
    assert 10 <= len(writes) - first <= 20
    stage.store.is_full = False
    stage.pass_time(2_000)
    assert "lock_stored" in [said[0] for said in stage.told]
