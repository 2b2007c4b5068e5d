"""Revocation as the authority carries it out, with time, disk and outlet in the hand of the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from hosts.authority_host import ADMIN, Client

from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.messages.result_codes import ROWS_MAX, ResultCode

FULL = "cannot write the authority's state: No space left on device"


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    stage = FakeAuthorityService(tmp_path, store)
    stage.join(PRIMARY, SECONDARY, THIRD)
    stage.pass_time(1)
    return stage


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        yield patched


def ask(stage: FakeAuthorityService, name: str, *fields: object) -> tuple[ResultCode, int, list[Any]]:
    """Return code, whether more follows, and rows of the answer."""
    stage.told.clear()
    stage.ask(name, 77, *fields)
    [(number, code, more, rows)] = [item[1:] for item in stage.told if item[0] == "answer"]
    assert number == 77
    return ResultCode(code), more, rows


def sessions(stage: FakeAuthorityService) -> list[list[Any]]:
    code, more, rows = ask(stage, "sessions", b"")
    assert (code, more) == (ResultCode.DONE, 0)
    return rows


def mailbox(stage: FakeAuthorityService, loop: str, target: str) -> int:
    """Return what a loop was told last of the mailbox of a target."""
    entries = [entry for fields in stage.of(loop, "rights") for entry in fields[2] if entry[0] == target]
    return int(entries[-1][1])


def test_the_list_says_everything_of_a_session(stage: FakeAuthorityService) -> None:
    stage.pass_time(40_000)
    rows = {row[2]: row for row in sessions(stage)}
    assert list(rows) == [row[2] for row in sorted(sessions(stage), key=lambda row: row[1])]
    row = rows["third/console"]
    said = stage.of("third", "session")[-1]
    assert row[:5] == ["session", said[2].hex(), "third/console", "third", "active"]
    age, expires, ends, renewed, renewals, token, certificate, address = row[5:]
    assert (age, renewals, certificate, address) == (40_001, 1, "", "")
    assert expires == said[8] - stage.now and ends == said[9] - stage.now
    assert expires + renewed == 60_000 and len(token) == 32


def test_the_address_of_a_client_is_primarys_word_and_only_about_clients(stage: FakeAuthorityService) -> None:
    granted = next(fields for loop, name, fields in stage.open(1, Client(ADMIN)) if name == "granted")
    component = stage.of("third", "session")[-1][2]
    for session, address in ((granted[4], "192.0.2.7"), (component, "192.0.2.8"), (b"x" * 16, "192.0.2.9")):
        stage.hear("primary", "came_from", session, address)
    assert {row[2]: row[12] for row in sessions(stage) if row[12]} == {"client/admin": "192.0.2.7"}
    with pytest.raises(PeerError, match="not_primary"):
        stage.hear("third", "came_from", granted[4], "192.0.2.10")


def test_a_long_list_comes_in_pages(stage: FakeAuthorityService) -> None:
    for number in range(300):
        stage.open(number, Client(ADMIN))
    found: list[str] = []
    after, more = b"", 1
    while more:
        code, more, rows = ask(stage, "sessions", after)
        assert code is ResultCode.DONE and len(rows) <= ROWS_MAX
        found += [row[1] for row in rows]
        after = bytes.fromhex(found[-1])
    assert len(found) == len(set(found)) == 303
    assert found == sorted(found)


def test_an_unambiguous_begin_of_an_id_is_enough(stage: FakeAuthorityService) -> None:
    session = stage.of("third", "session")[-1][2]
    code, _, rows = ask(stage, "revoke", "session", session.hex()[:6], 0)
    assert code is ResultCode.DONE
    assert rows == [["count", 1], ["session", session.hex(), "third/console", "third"]]


@pytest.mark.parametrize(
    ("kind", "what", "sentence"),
    [
        ("session", "abc", '"abc" is no id: give at least 4'),
        ("session", "nothing", "is no id"),
        ("session", "00" * 20, "is no id"),
        ("session", "", "is no id"),
        ("session", "0123456789", 'no session of now begins with "0123456789"'),
        ("token", "0123456789", "no token of now begins"),
        ("component", "third/consle", 'there is no component "third/consle": there is primary/kernel'),
        ("component", "client/admin", "there is no component"),
        ("client", "mallory", 'there is no client "mallory": there is admin'),
        ("loop", "forth", 'there is no loop "forth": there is primary, secondary, third'),
        ("planet", "mars", "no planet that can be revoked"),
    ],
)
def test_what_is_not_there_is_one_sentence_and_changes_nothing(
    stage: FakeAuthorityService, kind: str, what: str, sentence: str
) -> None:
    before = sessions(stage)
    code, _, rows = ask(stage, "revoke", kind, what, 0)
    assert code is ResultCode.REFUSED
    assert sentence in rows[0] and len(rows) == 1
    assert sessions(stage) == before
    assert stage.state.revocations == []


def test_an_ambiguous_begin_is_refused(tmp_path: Path, store: int) -> None:
    stage = FakeAuthorityService(tmp_path, store)
    manager = stage.context.sessions
    numbers = iter(range(100))
    manager._randomness = lambda count: b"\xab\xcd" + next(numbers).to_bytes(count - 2, "big") if count > 2 else b"xx"
    stage.join(PRIMARY, THIRD)
    code, _, rows = ask(stage, "revoke", "session", "abcd", 0)
    assert code is ResultCode.REFUSED
    assert rows == ['the ids of 2 sessions begin with "abcd": give more digits']


def test_a_token_ends_its_session_and_one_of_before_is_refused_all_the_same(stage: FakeAuthorityService) -> None:
    [row] = [row for row in sessions(stage) if row[2] == "third/console"]
    old_token, session = row[10], row[1]
    stage.pass_time(40_000)
    code, _, rows = ask(stage, "revoke", "token", old_token, 0)  # it was renewed, and is good for a while yet
    assert (code, rows) == (ResultCode.DONE, [["count", 0]])
    assert ("token", bytes.fromhex(old_token)) in [fields[1:] for fields in stage.of("secondary", "revoked")]
    [row] = [row for row in sessions(stage) if row[2] == "third/console"]
    assert row[1] == session
    code, _, rows = ask(stage, "revoke", "token", row[10][:8], 0)
    assert rows == [["count", 1], ["session", session, "third/console", "third"]]
    told = [fields[1:] for fields in stage.of("primary", "revoked")]
    assert ("token", bytes.fromhex(row[10])) in told and ("session", bytes.fromhex(session)) in told


def test_a_revoked_component_is_shut_out_until_it_is_restored(stage: FakeAuthorityService) -> None:
    assert mailbox(stage, "third", "secondary/store") == 2
    stage.said.clear()
    code, _, rows = ask(stage, "revoke", "component", "secondary/store", 0)
    assert code is ResultCode.DONE
    assert rows[0] == ["subject", "secondary/store", 0] and rows[1] == ["count", 1]
    assert stage.of("secondary", "session") == []
    assert mailbox(stage, "third", "secondary/store") == 0, "whoever may call it knows that it is not there"
    assert sessions(stage)[-1] == ["revoked", "secondary/store", 0, 1]
    stage.pass_time(9 * 3_600_000)
    assert stage.of("secondary", "session") == []
    code, _, rows = ask(stage, "restore", "component", "secondary/store")
    assert (code, rows) == (ResultCode.DONE, [["subject", "secondary/store", 0]])
    assert stage.of("third", "restored") == [(stage.state.revocation, b"secondary/store")]
    assert stage.of("secondary", "session")[-1][1] == "secondary/store"
    assert mailbox(stage, "third", "secondary/store") == 2
    assert ask(stage, "restore", "component", "secondary/store")[0] is ResultCode.REFUSED


def test_a_revoked_client_is_cut_off_and_opens_again_when_it_is_restored(stage: FakeAuthorityService) -> None:
    granted = [fields for loop, name, fields in stage.open(1, Client(ADMIN)) if name == "granted"]
    ask(stage, "revoke", "client", "admin", 0)
    assert stage.of("primary", "ended") == [(granted[0][4],)]
    assert stage.open(2, Client(ADMIN))[0][1:] == ("refused", (2, "rejected"))
    ask(stage, "restore", "client", "admin")
    assert stage.open(3, Client(ADMIN))[0][1] == "granted"


def test_a_loop_stands_for_its_components(stage: FakeAuthorityService) -> None:
    code, _, rows = ask(stage, "revoke", "loop", "third", 60_000)
    assert (code, rows[0]) == (ResultCode.DONE, ["subject", "third/console", 60_000])
    assert ask(stage, "restore", "loop", "third")[2] == [["subject", "third/console", 0]]


def test_a_revocation_for_a_time_ends_with_it_whatever_the_clock_says(stage: FakeAuthorityService, store: int) -> None:
    ask(stage, "revoke", "component", "third/console", 60_000)
    ask(stage, "revoke", "client", "admin", 120_000)
    stage.wall += 10**9  # somebody sets the clock
    stage.pass_time(59_000)
    assert stage.of("third", "restored") == []
    stage.wall -= 2 * 10**9
    stage.pass_time(2_000)
    assert [fields[1] for fields in stage.of("third", "restored")] == [b"third/console"]
    assert StateFile(store).load().is_revoked("subject", b"client/admin")
    assert not StateFile(store).load().is_revoked("subject", b"third/console")
    assert stage.of("third", "session")[-1][1] == "third/console"


def test_who_is_shut_out_stays_so_over_a_restart_and_for_the_rest_of_its_time(tmp_path: Path, store: int) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    stage = FakeAuthorityService(tmp_path / "one", store)
    stage.join(PRIMARY, THIRD)
    ask(stage, "revoke", "component", "third/console", 60_000)
    ask(stage, "revoke", "client", "admin", 0)
    stage.pass_time(20_000)
    again = FakeAuthorityService(tmp_path / "two", store, state=StateFile(store).load())
    again.wall = stage.wall
    again.join(PRIMARY, THIRD)
    assert again.of("third", "session") == []
    assert [entry[1] for entry in again.of("third", "snapshot")[-1][5] if entry[0] == "subject"] == [
        b"third/console", b"client/admin",
    ]  # fmt: skip
    again.pass_time(39_000)
    assert again.of("third", "session") == []
    again.pass_time(2_000)
    assert again.of("third", "session")[-1][1] == "third/console"
    assert again.open(1, Client(ADMIN))[0][1] == "refused"


def test_the_last_word_about_a_subject_counts(stage: FakeAuthorityService) -> None:
    ask(stage, "revoke", "client", "admin", 1_000)
    ask(stage, "revoke", "client", "admin", 0)
    assert [item.value for item in stage.state.revocations if item.kind == "subject"] == [b"client/admin"]
    stage.pass_time(5_000)
    assert sessions(stage)[-1] == ["revoked", "client/admin", 0, 1]


# Everybody


def acknowledge(stage: FakeAuthorityService, *loops: tuple[str, int], epoch: int) -> None:
    for loop, incarnation in loops:
        stage.hear(loop, "prepared", epoch)
        stage.ask("attested", loop, incarnation, epoch)


def test_all_ends_every_session_and_moves_the_epoch_without_grace(stage: FakeAuthorityService) -> None:
    stage.open(1, Client(ADMIN))
    before = {row[1] for row in sessions(stage)}
    stage.said.clear()
    stage.told.clear()
    stage.ask("revoke", 7, "all", "", 0)
    assert {fields[2].hex() for fields in stage.of("secondary", "revoked")} == before
    new = {fields[2].hex() for loop in ("primary", "secondary", "third") for fields in stage.of(loop, "session")}
    assert len(new) == 3 and not new & before, "the loops have new ones at once"
    assert [item for item in stage.told if item[0] == "answer"] == [], "not before the epoch has moved"
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    assert stage.of("third", "commit")[-1] == (6, 0)
    [answer] = [item for item in stage.told if item[0] == "answer"]
    assert answer[1:4] == (7, int(ResultCode.DONE), 0)
    assert answer[4][:2] == [["epoch", 6], ["count", 4]]
    assert {fields[2].hex() for fields in stage.of("third", "session") if fields[0] == 6} <= new
    assert stage.open(2, Client(ADMIN))[0][1] == "granted", "and nobody is shut out"


def test_of_very_many_sessions_the_verifiers_are_told_by_a_snapshot(stage: FakeAuthorityService) -> None:
    for number in range(100):
        stage.open(number, Client(ADMIN))
    stage.said.clear()
    stage.ask("revoke", 7, "all", "", 0)
    assert stage.of("third", "revoked") == []
    [snapshot] = stage.of("third", "snapshot")
    assert len(snapshot[5]) == 103 and snapshot[3] == stage.state.revocation


def test_all_during_another_change_of_the_epoch(stage: FakeAuthorityService) -> None:
    stage.changes.begin_timed(stage.now)
    stage.told.clear()
    stage.ask("revoke", 7, "all", "", 0)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    assert [item for item in stage.told if item[0] == "answer"] == []
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=7)
    [answer] = [item for item in stage.told if item[0] == "answer"]
    assert answer[4][0] == ["epoch", 7]
    assert stage.of("third", "commit")[-2:] == [(6, 5000), (7, 0)]


def test_all_before_a_reload_moves(stage: FakeAuthorityService) -> None:
    """The new sessions wait for the epoch of the reload, so that nobody under a new profile has keys of the old one."""
    stage.hold(9)
    stage.said.clear()
    stage.told.clear()
    stage.ask("revoke", 7, "all", "", 0)
    assert len(stage.of("third", "revoked")) == 3 and stage.of("third", "session") == []
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    assert [item[1:] for item in stage.told if item[0] == "moved"] == [(1, 6)]
    assert [item[4][0] for item in stage.told if item[0] == "answer"] == [["epoch", 6]]
    assert {fields[0] for fields in stage.of("third", "session")} == {6}


def test_a_reload_that_is_checked_while_all_is_revoked_gets_an_epoch_of_its_own(stage: FakeAuthorityService) -> None:
    stage.ask("revoke", 7, "all", "", 0)
    stage.told.clear()
    assert stage.hold(9)
    stage.changes.move(1, stage.now)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    assert [item for item in stage.told if item[0] == "moved"] == []
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=7)
    assert [item[1:] for item in stage.told if item[0] == "moved"] == [(1, 7)]
    assert not stage.changes.is_held


# The disk


def test_verifiers_are_told_before_the_disk_is_asked(
    stage: FakeAuthorityService, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, said = os.fsync, []
    session = stage.of("third", "session")[-1][2]

    def sync(descriptor: int) -> None:
        said.append([fields[2] for fields in stage.of("secondary", "revoked")])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    ask(stage, "revoke", "session", session.hex(), 0)
    assert said[0] == [session]


def test_a_full_disk_is_said_and_tried_again(
    stage: FakeAuthorityService, store: int, full_disk: pytest.MonkeyPatch
) -> None:
    code, _, rows = ask(stage, "revoke", "client", "admin", 0)
    assert code is ResultCode.UNWRITTEN
    assert rows[0] == ["subject", "client/admin", 0]
    assert ("subject", b"client/admin") in [fields[1:] for fields in stage.of("third", "revoked")]
    assert ("storage", FULL) in stage.told
    stage.told.clear()
    stage.pass_time(5_000)
    assert [item for item in stage.told if item[0] == "storage"] == [], "it is said once"
    full_disk.undo()
    stage.pass_time(1_000)
    assert [item for item in stage.told if item[0] == "storage"] == [("storage", "")]
    assert StateFile(store).load().is_revoked("subject", b"client/admin")


def test_on_a_full_disk_nobody_is_restored(
    stage: FakeAuthorityService, store: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(stage, "revoke", "component", "third/console", 60_000)

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        code, _, rows = ask(stage, "restore", "component", "third/console")
        assert code is ResultCode.UNCHANGED and "nothing has changed" in rows[0]
        stage.pass_time(70_000)  # nor does time, until it can be written
        assert stage.of("third", "restored") == []
        assert sessions(stage)[-1][:2] == ["revoked", "third/console"]
    stage.pass_time(2_000)
    assert [fields[1] for fields in stage.of("third", "restored")] == [b"third/console"]
    assert not StateFile(store).load().is_revoked("subject", b"third/console")


def test_all_on_a_full_disk_ends_all_sessions_and_the_epoch_follows(
    stage: FakeAuthorityService, full_disk: pytest.MonkeyPatch
) -> None:
    code, _, rows = ask(stage, "revoke", "all", "", 0)
    assert code is ResultCode.UNWRITTEN and rows[0] == ["count", 3]
    full_disk.undo()
    stage.pass_time(11_000)
    acknowledge(stage, PRIMARY, SECONDARY, THIRD, epoch=6)
    assert stage.of("third", "commit")[-1] == (6, 0)


def test_how_long_a_subject_is_still_out_is_told_by_the_clock_that_restores_it(stage: FakeAuthorityService) -> None:
    stage.revocations.revoke_subjects(["third/console"], 60_000, stage.moment)
    for jump in (-3_600_000, 7_200_000):
        stage.wall += jump
        [(_, subject, left, is_for_ever)] = [row for row in sessions(stage) if row[0] == "revoked"]
        assert (subject, left, is_for_ever) == ("third/console", 60_000, 0)
    stage.pass_time(59_000)
    assert [row[2] for row in sessions(stage) if row[0] == "revoked"] == [1_000]


@pytest.mark.parametrize("is_given", [True, False], ids=["written", "waiting"])
def test_a_revocation_that_comes_while_a_restore_waits_for_the_disk_stays(
    stage: FakeAuthorityService, is_given: bool
) -> None:
    subject = "secondary/store"
    assert ask(stage, "revoke", "component", subject, 0)[0] == ResultCode.DONE
    stage.store.is_held = True
    if not is_given:  # another write is with the disk, so the restore waits behind it
        stage.ask("revoke", 20, "component", "third/console", 0)
    stage.ask("restore", 21, "component", subject)
    stage.ask("revoke", 22, "component", subject, 0)
    stage.store.is_held = False
    stage.dispatcher.tick(stage.moment)
    stage.dispatcher.tick(stage.moment)
    answers = {item[1]: (item[2], item[4]) for item in stage.told if item[0] == "answer"}
    assert answers[21][0] == ResultCode.REFUSED and "was revoked again meanwhile" in answers[21][1][0]
    assert answers[22][0] == ResultCode.DONE
    assert stage.state.is_revoked("subject", subject.encode()) and subject in stage.revocations.subjects()
    assert stage.store.load().is_revoked("subject", subject.encode())


def test_of_several_that_are_restored_those_stay_that_were_revoked_again(stage: FakeAuthorityService) -> None:
    first, second = "secondary/store", "third/console"
    for subject in (first, second):
        assert ask(stage, "revoke", "component", subject, 0)[0] == ResultCode.DONE
    stage.store.is_held = True
    ended: list[str] = []
    stage.revocations.restore([first, second], stage.now, ended.extend, ended.append)
    stage.ask("revoke", 22, "component", first, 0)
    stage.store.is_held = False
    stage.dispatcher.tick(stage.moment)
    stage.dispatcher.tick(stage.moment)
    assert ended == [second]
    assert list(stage.revocations.subjects()) == [first]
    assert stage.store.load().is_revoked("subject", first.encode())
