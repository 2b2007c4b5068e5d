"""The response in the authority: what Primary reports, what follows, and that no victim pays. No process."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from fakes.ports import NoRecorder
from hosts.authority_host import ADMIN, Client

from tlsrt.budget import Budget
from tlsrt.channels.clock import Moment
from tlsrt.channels.tls.engine import _REFUSALS
from tlsrt.config.detection import DetectionConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.recorder import OPERATOR, Patience
from tlsrt.supervisor.authority.detection.gate_reports import ROWS_MAX, detector_for, gate_reports_untrusted
from tlsrt.supervisor.authority.detection.scoring import GRACE_MS
from tlsrt.supervisor.authority.detection.service import DetectionService
from tlsrt.supervisor.authority.model.ports import Detail, Otherwise, SignalSource, SourceKind, Then

STRANGER = "192.0.2.7"


class Book(NoRecorder):
    """A recorder that writes nothing down, and refuses if told so."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.kinds: list[tuple[str, str]] = []
        self.is_full = is_full

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        self.kinds.append((kind, subject))

    def before(
        self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise,
        patience: Patience = OPERATOR,
    ) -> None:  # fmt: skip
        self.kinds.append((kind, subject))
        if self.is_full:
            otherwise("no space left")
        else:
            then()


class Bolt:
    """A lock that only notes."""

    is_locked = False

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def engage(self, reason: str, by: str, moment: Moment) -> None:
        self.reasons.append(reason)


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    stage = FakeAuthorityService(tmp_path, store)
    stage.join(PRIMARY, SECONDARY, THIRD)
    stage.pass_time(GRACE_MS + 1000)
    stage.said.clear()
    stage.told.clear()
    stage.recorder.target = Book()
    stage.detection.actions._lock = Bolt()
    return stage


def response(stage: FakeAuthorityService) -> DetectionService:
    found = stage.detection
    assert isinstance(found, DetectionService)
    return found


def report(stage: FakeAuthorityService, *rows: list[Any]) -> None:
    stage.hear("primary", "offences", list(rows))


def session_of(stage: FakeAuthorityService, subject: str) -> str:
    return next(each.session_id.hex() for each in stage.context.sessions if each.subject == subject)


def test_a_forged_frame_ends_the_session_that_it_came_over_and_the_next_one_is_there(
    stage: FakeAuthorityService,
) -> None:
    old = session_of(stage, "third/console")
    report(stage, ["session", old, "not_allowed", 1, "secondary/store a"])
    assert session_of(stage, "third/console") == old, "once is no attack"
    report(stage, ["channel", "third", "proof_forged", 1, ""])
    assert session_of(stage, "third/console") != old
    assert ("session", bytes.fromhex(old)) in [fields[1:] for fields in stage.of("secondary", "revoked")]


def test_a_scan_ends_a_session_and_who_goes_on_is_shut_out_for_a_time(stage: FakeAuthorityService) -> None:
    assert stage.open(1, Client(ADMIN))[0][1] == "granted"
    for number in range(2, 9):
        session = session_of(stage, "client/admin")
        report(stage, *(["session", session, "not_allowed", 1, f"secondary/store m{number}.{n}"] for n in range(10)))
        assert stage.of("primary", "ended")[-1] == (bytes.fromhex(session),)
        if "client/admin" in stage.revocations.subjects():
            break
        assert stage.open(number, Client(ADMIN))[0][1] == "granted"
    assert 2 < number < 6
    (_, name, (connection, word)), *_ = stage.open(9, Client(ADMIN))
    assert (name, connection) == ("refused", 9) and word.startswith("quarantined ")
    assert list(response(stage).actions.quarantined) == ["client/admin"]
    stage.pass_time(75_000)
    assert stage.open(10, Client(ADMIN))[0][1] == "granted", "it ends by itself"
    assert response(stage).actions.quarantined == {}


def test_a_trigger_at_a_component_takes_its_keys_and_rights_and_they_come_back(stage: FakeAuthorityService) -> None:
    source = SignalSource(SourceKind.CHANNEL, "third/console")
    stage.detection.trigger("decoy_method", source, {"method": "admin_dump"}, stage.moment)
    assert "third/console" in stage.context.loops.barred
    assert not [each for each in stage.context.sessions if each.subject == "third/console"]
    book = stage.recorder.target
    assert isinstance(book, Book)
    recorded = [kind for kind, subject in book.kinds if subject == "third/console"]
    assert recorded == ["charge", "quarantine", "session_revoked"]
    stage.pass_time(75_000)
    assert "third/console" not in stage.context.loops.barred
    assert session_of(stage, "third/console")


def test_a_loop_that_holds_anothers_token_is_replaced_and_only_that_process(stage: FakeAuthorityService) -> None:
    report(stage, ["channel", "third", "foreign_session", 1, ""])
    assert ("respawn", "third", 3, "score 100, last for foreign_session") in stage.told
    stage.told.clear()
    for incarnation in (1, 2):  # the one before the living one, of which the news comes late, and that
        stage.ask("charge", "secondary", incarnation, "attestation", 1, "m")
    assert [entry[1:3] for entry in stage.told if entry[0] == "respawn"] == [("secondary", 2)]


def test_a_new_process_inherits_less_than_ends_a_session(stage: FakeAuthorityService) -> None:
    source = SignalSource(SourceKind.PROCESS, "third")
    stage.ask("charge", "third", 3, "seccomp_refused", 49, "socket")
    assert response(stage).actions.quarantined
    stage.ask("spawned", "third", 4)
    stage.join(("third", 4))
    stage.pass_time(1000)
    assert 35 < response(stage).scoring.score(source, stage.now) <= 40
    assert not response(stage).actions.quarantined and session_of(stage, "third/console"), "the deserver is gone"


def test_two_loops_at_the_top_lock_the_host_and_so_does_a_trigger_at_primary(stage: FakeAuthorityService) -> None:
    lock = stage.detection.actions._lock
    assert isinstance(lock, Bolt)
    for loop in ("third", "secondary", "primary", "supervisor"):
        report(stage, ["channel", loop, "wrong_session", 1, ""])
        with suppress(PeerError):
            stage.hear("primary", "canary", "token 3", loop, b"", "")
    assert lock.reasons == [], "the word of a captured Primary is not enough"
    stage.ask("charge", "third", 3, "seccomp_refused", 50, "socket")
    assert lock.reasons == []
    stage.ask("charge", "secondary", 2, "seccomp_refused", 50, "socket")
    assert lock.reasons == ["seccomp_refused at secondary: socket"]
    stage.detection.trigger("decoy_file", SignalSource(SourceKind.PROCESS, "primary"), {}, stage.moment)
    assert len(lock.reasons) == 2


def test_a_quarantined_client_that_proves_its_key_is_told_how_long_it_lasts(stage: FakeAuthorityService) -> None:
    stage.open(1, Client(ADMIN))
    report(stage, ["session", session_of(stage, "client/admin"), "foreign_session", 1, ""])
    stage.now += 10_000
    stage.open(2, Client(ADMIN))
    connection, word = stage.of("primary", "refused")[-1]
    name, _, seconds = word.partition(" ")
    assert (connection, name) == (2, "quarantined") and 38 <= int(seconds) <= 62
    stage.ask("release", 1, "admin")
    assert stage.open(3, Client(ADMIN))[0][1] == "granted"


def test_an_address_is_limited_and_blocked_by_primary_and_one_that_comes_again_is_told(
    stage: FakeAuthorityService,
) -> None:
    report(stage, ["address", STRANGER, "tls_wrong_version_number", 10, ""])
    report(stage, ["address", STRANGER, "handshake_timeout", 40, ""])
    told = stage.of("primary", "restrict")
    assert [fields[:3] for fields in told] == [("limit", "address", STRANGER), ("block", "address", STRANGER)]
    assert 48_000 <= told[1][3] <= 72_000
    stage.ask("spawned", "primary", 9)
    stage.said.clear()
    stage.join(("primary", 9))
    assert [fields[:3] for fields in stage.of("primary", "restrict")] == [fields[:3] for fields in told]
    report(stage, ["address", "127.0.0.1", "tls_wrong_version_number", 999, ""])
    assert len(stage.of("primary", "restrict")) == 2, "who works on this host is on the usual list"


def test_a_session_that_ended_and_a_name_that_is_none_are_charged_to_nobody(stage: FakeAuthorityService) -> None:
    report(stage, ["session", "ff" * 16, "proof_forged", 99, ""], ["session", "client/admin", "proof_forged", 99, ""])
    assert list(response(stage).scoring.scores(stage.now)) == []


def test_offences_in_a_victims_name_leave_its_score_at_nothing(stage: FakeAuthorityService) -> None:
    """The offender's frames name the victim as sender; what they came over is the offender's."""
    rows = [
        ["channel", "third", reason, 50, "secondary/store get"] for reason in ("wrong_source", "replay", "oversize")
    ]
    report(stage, *rows)
    for kind in SourceKind:
        for victim in ("secondary", "secondary/store", "primary/kernel", session_of(stage, "secondary/store")):
            assert response(stage).scoring.score(SignalSource(kind, victim), stage.now) == 0
    assert {source.value for source, _ in response(stage).scoring.scores(stage.now)} == {"third"}


def test_what_an_operator_has_revoked_stays_as_he_said(stage: FakeAuthorityService) -> None:
    stage.revocations.revoke_subjects(["third/console"], 0, stage.moment)
    source = SignalSource(SourceKind.CHANNEL, "third/console")
    stage.detection.trigger("decoy_method", source, {}, stage.moment)
    stage.pass_time(4_000_000)
    assert stage.revocations.subjects() == {"third/console": 0}


def test_somebody_is_shut_out_even_if_that_cannot_be_recorded_and_it_is_said(stage: FakeAuthorityService) -> None:
    notes = stage.new_notes()
    stage.recorder.target = Book(is_full=True)
    stage.detection.trigger("decoy_method", SignalSource(SourceKind.CHANNEL, "third/console"), {}, stage.moment)
    assert "third/console" in stage.context.loops.barred
    names = [(note[0], note[1]) for note in notes.page(stage.now)]
    assert names[:3] == [("detected", "third/console"), ("response", "third/console"), ("reported", "third/console")]


def test_only_primary_may_report_and_only_so_much(stage: FakeAuthorityService) -> None:
    row = ["channel", "third", "replay", 1, ""]
    with pytest.raises(PeerError, match="not_primary"):
        stage.hear("third", "offences", [row])
    for rows in ([row] * (ROWS_MAX + 1), [["process", *row[1:]]], [[*row[:3], 0, ""]], [[*row[:4], "x" * 129]], [7]):
        with pytest.raises(PeerError, match="bad_offences"):
            report(stage, *rows)
    for _ in range(1000):
        report(stage, ["address", STRANGER, "bad_length", 1, ""])
    assert response(stage).scoring.detector_counts["door_protocol"].found <= 100


def test_a_budget_that_is_used_up_is_told_with_its_subject_and_has_no_consequence(stage: FakeAuthorityService) -> None:
    assert stage.open(1, Client(ADMIN))[0][1] == "granted"
    session, notes = session_of(stage, "client/admin"), stage.new_notes()
    report(stage, ["session", session, Budget.PLACES, 9, ""])
    for _ in range(100):
        stage.hear("secondary", "recipient_reports", [[bytes.fromhex(session), Budget.PROCESSOR, 1000]])
    stage.detection.over_budget("client/admin", Budget.OPENINGS, stage.moment)
    assert session_of(stage, "client/admin") == session and not list(response(stage).scoring.active)
    told = [note[1:3] for note in notes.page(stage.now) if note[0] == "over_budget"]
    assert sorted(told) == [
        ["client/admin", "connections at the door"],
        ["client/admin", "new sessions a second"],
        ["client/admin", "processor time of a loop, at secondary"],
    ], "each once in a while"


def test_what_is_nobodys_fault_is_no_offence() -> None:
    for word in ("busy", "unavailable", "no_open_call", "stale_mailbox", "stale_gate", "deadline", "blocked"):
        assert detector_for(SourceKind.CHANNEL, word) == ""
    assert gate_reports_untrusted([["channel", "third", "busy", 1000, ""]]) == []
    for word in ("enrolled", "too_many_strangers", "draining", "whatever_comes_later", "refused_busy"):
        assert detector_for(SourceKind.ADDRESS, word) == "", "a connection ends for many reasons"
    assert detector_for(SourceKind.ADDRESS, "frame_while_challenged") == "door_protocol"
    assert detector_for(SourceKind.ADDRESS, "not_enrolled") == "enrolment"
    assert all(detector_for(SourceKind.ADDRESS, reason) == "tls_garbage" for reason, _ in _REFUSALS.values())
    assert detector_for(SourceKind.SESSION, "too_many_refused") == "flood"
    assert detector_for(SourceKind.SESSION, "http_body") == "", "a request that is wrong is answered so"


def test_repeats_of_an_alert_are_told_as_a_sum(stage: FakeAuthorityService) -> None:
    notes = stage.new_notes()
    for _ in range(5):
        stage.ask("alert", "third/watch", "alert_warning", 2, "odd: is odd")
    stage.ask("alert", "third/watch", "alert_critical", 1, "grave: is grave")
    stage.pass_time(9_000)

    def told() -> list[tuple[Any, Any]]:
        found: list[Any] = [note for note in notes.page(stage.now) if note[0] == "detected"]
        return [(note[2], note[3]["count"]) for note in found]

    first = [("alert_warning: odd: is odd", 2), ("alert_critical: grave: is grave", 1)]
    assert told() == first
    stage.pass_time(2_000)
    assert told() == [*first, ("alert_warning: odd: is odd", 8)]
    stage.pass_time(100_000)
    assert len(told()) == 3, "nothing is left to be told"


def test_a_host_that_only_observes_says_what_it_would_do(tmp_path: Path, store: int) -> None:
    stage = FakeAuthorityService(tmp_path, store, detection=DetectionConfig(mode="observe"))  # type: ignore[arg-type]
    stage.join(PRIMARY, THIRD)
    notes = stage.new_notes()
    stage.pass_time(GRACE_MS + 1000)
    before = session_of(stage, "third/console")
    report(stage, ["channel", "third", "foreign_session", 1, ""])
    assert session_of(stage, "third/console") == before
    assert [note[0] for note in notes.page(stage.now)][:2] == ["detected", "would_respond"]
    assert not [entry for entry in stage.told if entry[0] == "respawn"]


def test_a_quarantine_that_comes_while_the_end_of_the_one_before_waits_for_the_disk_stays(
    stage: FakeAuthorityService,
) -> None:
    source = SignalSource(SourceKind.CHANNEL, "third/console")
    stage.detection.trigger("decoy_file", source, {}, stage.moment)
    assert list(response(stage).actions.quarantined) == ["third/console"]
    stage.store.is_held = True
    stage.ask("release", 21, "third/console")
    stage.detection.trigger("decoy_file", source, {}, stage.moment)
    stage.detection.trigger("decoy_file", source, {}, stage.moment)
    applied = response(stage).actions
    applied._quarantine(
        next(iter(applied.quarantined.values())).applied, "third/console", 0, stage.moment
    )  # as another detector would
    stage.store.is_held = False
    for _ in range(3):
        stage.dispatcher.tick(stage.moment)
    assert "third/console" in stage.revocations.subjects()
    assert list(applied.quarantined) == ["third/console"], "and it is in the list of those that are"
    assert not stage.revocations.returning


def test_a_release_says_what_is_in_again_and_leaves_what_was_shut_out_meanwhile(stage: FakeAuthorityService) -> None:
    for subject in ("third/console", "client/third"):
        stage.detection.trigger("decoy_file", SignalSource(SourceKind.CHANNEL, subject), {}, stage.moment)
    book = Book()
    stage.recorder.target = book
    stage.store.is_held = True
    stage.ask("release", 21, "third")
    (again,) = [each for each in response(stage).scoring.active if each.source.value == "client/third"]
    response(stage).actions.take(again, "client/third", 0, stage.moment)
    stage.store.is_held = False
    for _ in range(3):
        stage.dispatcher.tick(stage.moment)
    (rows,) = [said[4] for said in stage.told if said[:2] == ("answer", 21)]
    assert [row[1] for row in rows] == ["third/console"]
    assert list(stage.revocations.subjects()) == ["client/third"]
    assert [subject for kind, subject in book.kinds if kind == "release"] == ["third/console"]
    assert [each.source.value for each in response(stage).scoring.active] == ["client/third"]


def test_a_score_that_a_release_forgets_is_told_to_the_supervisor_before_the_answer(
    stage: FakeAuthorityService,
) -> None:
    """As `status` shows what it was told last."""
    stage.ask("charge", *THIRD, "seccomp_refused", 40, "socket")
    scores = [said for said in stage.told if said[:2] == ("score", "third")]
    assert scores[-1][2] >= 70 and response(stage).actions.quarantined
    stage.ask("release", 21, "third")
    for _ in range(3):
        stage.dispatcher.tick(stage.moment)
    after = stage.told[stage.told.index(scores[-1]) + 1 :]
    assert ("score", "third", 0) in after
    assert after.index(("score", "third", 0)) < [said[:2] for said in after].index(("answer", 21))


@pytest.mark.parametrize("for_ms", [0, 3_600_000])
@pytest.mark.parametrize("is_full", [True, False])
def test_a_quarantine_beside_a_restore_that_waits_makes_no_revocation_shorter(
    stage: FakeAuthorityService, for_ms: int, is_full: bool
) -> None:
    stage.revocations.revoke_subjects(["third/console"], for_ms, stage.moment)
    until = stage.revocations.subjects()["third/console"]
    stage.store.is_held = True
    refused: list[str] = []
    stage.revocations.restore(["third/console"], stage.now, lambda names: None, refused.append)
    stage.detection.trigger("decoy_file", SignalSource(SourceKind.CHANNEL, "third/console"), {}, stage.moment)
    stage.store.is_held, stage.store.is_full = False, is_full
    for _ in range(3):
        stage.dispatcher.tick(stage.moment)
    stage.store.is_full = False
    stage.pass_time(1_800_000)
    assert len(refused) == 1 and stage.revocations.subjects() == {"third/console": until}


@pytest.mark.parametrize("for_ms", [0, 7 * 86_400_000])
def test_a_loop_that_is_replaced_ends_no_revocation_of_an_operator(stage: FakeAuthorityService, for_ms: int) -> None:
    stage.ask("charge", "third", 3, "seccomp_refused", 30, "socket")
    stage.ask("charge", "third", 3, "seccomp_refused", 10, "socket")
    assert list(response(stage).actions.quarantined) == ["third/console"]
    stage.revocations.revoke_subjects(["third/console"], for_ms, stage.moment)
    revoked = dict(stage.revocations.subjects())
    stage.ask("spawned", "third", 4)
    stage.hear("third", "join")
    stage.ask("attested", "third", 4, 5)
    stage.pass_time(5_000)
    assert stage.revocations.subjects() == revoked and bool(revoked["third/console"]) is bool(for_ms)
    assert response(stage).actions.quarantined == {}
