"""A client has so many sessions at once and opens so many a second; beyond it it waits, and all others are let in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from fakes.ports import NoRecorder
from hosts.authority_host import ADMIN, CA, INSTALL, NOW, Client

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.telemetry import Window, pack_rows
from tlsrt.config import pki
from tlsrt.config.access import ClientConfig
from tlsrt.config.schema import LimitsConfig
from tlsrt.supervisor.authority.clients.session_budget import SILENT_MS

LIMITS = LimitsConfig(epoch_s=80_000.0, openings_per_s=1, openings_burst=32)
OTHER = pki.issue_client(CA, INSTALL, "other", NOW)


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    names = (("admin", ADMIN), ("other", OTHER))
    clients = tuple(ClientConfig(name, pki.fingerprint(one.certificate_pem)) for name, one in names)
    stage = FakeAuthorityService(tmp_path, store, limits=LIMITS, clients=clients)
    stage.join(PRIMARY, SECONDARY, THIRD)
    return stage


def open_many(stage: FakeAuthorityService, first: int, count: int, every_ms: int = 0) -> Counter[str]:
    """Open so many sessions of the admin; return what each was told."""
    words: Counter[str] = Counter()
    for connection in range(first, first + count):
        stage.pass_time(every_ms)
        words[answer(stage, connection, ADMIN)] += 1
    return words


def answer(stage: FakeAuthorityService, connection: int, who: Any) -> str:
    said = stage.open(connection, Client(who))
    names = [(name, fields) for loop, name, fields in said if loop == "primary" and name in ("granted", "refused")]
    name, fields = names[-1]
    return name if name == "granted" else str(fields[1])


def over(stage: FakeAuthorityService) -> list[tuple[str, str]]:
    return [(str(note[1]), str(note[2])) for note in stage.notes._waiting if note[0] == "over_budget"]


def windows_of(stage: FakeAuthorityService, sessions: list[bytes]) -> None:
    window = Window(1, 1, 1, 0, 0, 0, 0, 1, 1)
    stage.hear("primary", "telemetry", pack_rows([(session, window) for session in sessions]))


def test_the_opening_beyond_the_burst_is_busy_and_one_a_second_comes_in(stage: FakeAuthorityService) -> None:
    assert open_many(stage, 0, 40) == {"granted": 32, "busy": 8}
    assert answer(stage, 100, OTHER) == "granted", "another client is not concerned"
    stage.pass_time(999)
    assert answer(stage, 101, ADMIN) == "busy"
    stage.pass_time(1)
    assert answer(stage, 102, ADMIN) == "granted"
    assert answer(stage, 103, ADMIN) == "busy"
    assert over(stage) == [("client/admin", "new sessions a second")]


def test_a_refusal_for_the_budget_is_no_record_and_costs_no_points(stage: FakeAuthorityService) -> None:
    open_many(stage, 0, 33)
    notes = stage.new_notes()
    open_many(stage, 33, 100)
    assert not notes._waiting, "neither an event for each nor one for all within ten seconds"
    assert len(stage.lines) < 20
    assert all(not line.startswith("points") for line in stage.lines)


def test_the_session_beyond_the_most_is_busy_while_all_are_in_use(stage: FakeAuthorityService) -> None:
    assert open_many(stage, 0, 64, every_ms=2_000) == {"granted": 64}
    assert open_many(stage, 64, 5, every_ms=2_000) == {"busy": 5}
    assert not stage.of("primary", "ended"), "none is cut: it would only be opened again"
    assert ("client/admin", "sessions at once") in over(stage)
    assert answer(stage, 200, OTHER) == "granted"
    stage.hear("primary", "close", stage.of("primary", "granted")[0][4])
    stage.pass_time(2_000)
    assert answer(stage, 201, ADMIN) == "granted"


def test_a_new_session_takes_the_place_of_one_that_has_long_been_silent(stage: FakeAuthorityService) -> None:
    """A machine that lost its power has closed none of its connections, and comes again."""
    open_many(stage, 0, 64, every_ms=2_000)
    sessions = list(dict.fromkeys(fields[4] for fields in stage.of("primary", "granted")))
    stage.pass_time(SILENT_MS)
    windows_of(stage, sessions[:10])
    assert answer(stage, 100, ADMIN) == "granted"
    assert stage.of("primary", "ended") == [(sessions[10],)], "the first of those that say nothing"
    stage.pass_time(1_000)
    assert stage.of("third", "sessions_ended")[-1] == ("sessions", [sessions[10]])


@pytest.mark.parametrize("recipient", ["primary", "secondary", "third"])
def test_every_recipient_is_told_that_a_session_has_ended(stage: FakeAuthorityService, recipient: str) -> None:
    open_many(stage, 0, 3)
    first, second, _ = (fields[4] for fields in stage.of("primary", "granted"))
    stage.hear("primary", "close", first)
    stage.hear("primary", "close", second)
    assert stage.dispatcher.next_due() == 0, "at once"
    stage.dispatcher.tick(stage.moment)
    assert stage.of(recipient, "sessions_ended") == [("sessions", [first, second])]


def test_all_sessions_end_with_primary(stage: FakeAuthorityService) -> None:
    open_many(stage, 0, 20)
    sessions = {fields[4] for fields in stage.of("primary", "granted")}
    stage.ask("gone", "primary", 1)
    stage.dispatcher.tick(stage.moment)
    [(what, ended)] = stage.of("third", "sessions_ended")
    assert what == "sessions" and set(ended) == sessions


def test_refused_clients_fill_no_log(stage: FakeAuthorityService) -> None:
    records: list[Any] = []

    class Recorder(NoRecorder):
        def note(self, kind: str, subject: str, detail: Any, moment: Moment) -> None:
            records.append((kind, dict(detail)))

    stage.recorder.target = Recorder()
    notes = stage.new_notes()
    for _ in range(500):
        stage.hear("primary", "delegate", 7, b"no certificate")
    stage.pass_time(1_000)
    stage.hear("primary", "delegate", 7, b"no certificate")
    refused = [note for note in notes._waiting if note[0] == "client_refused"]
    assert len(refused) == 65 and len(stage.of("primary", "refused")) == 501
    told = [detail for kind, detail in records if kind == "client_refused"]
    assert len(told) == 65 and told[-1] == {"reason": "certificate_shape", "others_before": 436}


def test_a_resumed_authority_tells_that_no_client_has_a_session(tmp_path: Path, store: int) -> None:
    stage = FakeAuthorityService(tmp_path, store, resumed=True)
    for loop, incarnation in (THIRD, PRIMARY):
        stage.ask("attested", loop, incarnation, 5)
        assert stage.of(loop, "sessions_ended") == [("clients", [])]


def test_a_lock_ends_whatever_runs(stage: FakeAuthorityService) -> None:
    open_many(stage, 0, 1)
    stage.provisioner.lock_down(stage.moment)
    assert ("all", []) in stage.of("third", "sessions_ended")


def test_a_client_that_is_known_no_more_leaves_no_call(stage: FakeAuthorityService) -> None:
    stage.revocations.end_subject("client/admin", stage.moment)
    assert stage.of("third", "sessions_ended") == [("subjects", [b"client/admin"])]
