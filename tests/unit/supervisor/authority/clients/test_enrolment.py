"""What the authority does with join codes: once, for ten minutes, for the key that the MAC names, and nothing else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from fakes.ports import NoDetection, NoRecorder
from hosts.authority_host import Client
from hosts.enrolment import DAY, STORE, add, ask, code_from, is_let_in, ready
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.clock import Moment
from tlsrt.channels.session.enrolment import JoinCode, check_answer_untrusted, request_mac
from tlsrt.config import pki
from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.recorder import OPERATOR, Patience
from tlsrt.supervisor.authority.clients.enrolment import Enrolment
from tlsrt.supervisor.authority.model.join_codes import LIFE_MS, TRIES_MAX, PendingCode, decode_codes, encode_codes
from tlsrt.supervisor.authority.model.ports import SignalSource
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.messages.result_codes import ResultCode as Outcome

KEY = bytes([9]) + bytes(31)  # of a command that asks for a code

Said = tuple[bytes, bytes, bytes]  # id, request, MAC


def code_for(stage: FakeAuthorityService, name: str) -> JoinCode:
    """Return the code that the operator is shown."""
    code, ends = code_from(stage, "client_add", name, STORE, DAY, 0)
    assert ends == stage.wall + LIFE_MS
    return code


def asking(code: JoinCode) -> tuple[Said, bytes]:
    """Return what a client says, and its key."""
    request, key = pki.make_request()
    return (code.code_id, request, request_mac(code.code_id, code.secret, request)), key


def say(stage: FakeAuthorityService, said: Said, connection: int = 9) -> tuple[Any, ...] | None:
    """Let Primary pass it on; return answer and MAC, or None for a refusal."""
    before = len(stage.said)
    stage.hear("primary", "enrol", connection, "192.0.2.7", *said)
    answers = [(name, fields) for _, name, fields in stage.said[before:] if name in ("enrolled", "not_enrolled")]
    assert len(answers) == 1 and answers[0][1][0] == connection
    return answers[0][1][1:] if answers[0][0] == "enrolled" else None


def join(stage: FakeAuthorityService, code: JoinCode) -> Client:
    said, key = asking(code)
    answered = say(stage, said)
    assert answered is not None, stage.lines
    answer = check_answer_untrusted(code, said[1], *answered)
    assert answer.issuer == stage.context.keys.newest.issuer.public
    return Client(pki.Issued(pki.pem_of(answer.certificate), key))


def test_a_code_enrols_one_client_once(stage: FakeAuthorityService) -> None:
    code = code_for(stage, "phone")
    said, key = asking(code)
    answered = say(stage, said)
    assert answered is not None
    phone = Client(pki.Issued(pki.pem_of(check_answer_untrusted(code, said[1], *answered).certificate), key))
    assert is_let_in(stage, 1, phone)
    assert say(stage, said) is None, "the very same bytes again"
    assert say(stage, asking(code)[0]) is None, "and another key"
    assert stage.lines[-1].endswith("join_code_reused") and len(stage.state.enrolled["phone"].certificates) == 1


def test_a_code_ends_after_ten_minutes_and_with_the_client(stage: FakeAuthorityService) -> None:
    late, gone = code_for(stage, "late"), code_for(stage, "gone")
    assert ask(stage, "client_revoke", "gone")[0] == Outcome.DONE
    assert say(stage, asking(gone)[0]) is None
    stage.wall += LIFE_MS
    assert say(stage, asking(late)[0]) is None
    stage.wall -= 2 * LIFE_MS  # a clock that is set back makes no code young again
    assert say(stage, asking(late)[0]) is None
    assert not any(client.certificates for client in stage.state.enrolled.values())


def test_wrong_guesses_end_a_code(stage: FakeAuthorityService) -> None:
    code = code_for(stage, "phone")
    wrong = JoinCode(code.code_id, bytes(16), code.pin)
    for _ in range(TRIES_MAX - 1):
        assert say(stage, asking(wrong)[0]) is None
    assert stage.state.join_codes[code.code_id].tries == TRIES_MAX - 1, "which a restart does not forget"
    assert say(stage, asking(wrong)[0]) is None
    assert say(stage, asking(code)[0]) is None, "the right one comes too late"
    assert stage.lines[-1].endswith("join_code_used_up"), "and the log is not filled"
    code, _ = code_from(stage, "client_renew", "phone", 0)
    assert is_let_in(stage, 1, join(stage, code)), "a new code is a new chance"


def test_a_captured_mac_is_good_for_its_own_request_only(stage: FakeAuthorityService) -> None:
    code = code_for(stage, "phone")
    (code_id, request, mac), _ = asking(code)
    assert say(stage, (code_id, pki.make_request()[0], mac)) is None
    other = code_for(stage, "other")
    assert say(stage, (other.code_id, request, mac)) is None, "nor for another id"
    assert say(stage, (code_id, request, mac)) is not None


def test_offences_are_charged_to_the_address_alone(stage: FakeAuthorityService) -> None:
    sources: list[tuple[SignalSource, int]] = []

    class Weighing(NoDetection):
        def trigger(self, *arguments: Any) -> None:
            raise AssertionError("nothing here is beyond accident")

        def add(self, detector: str, source: SignalSource, points: int, *rest: Any) -> None:
            sources.append((source, points))

    stage.the(Enrolment)._detection = Weighing()
    code = code_for(stage, "phone")
    say(stage, asking(JoinCode(bytes(5), code.secret, code.pin))[0])
    say(stage, asking(JoinCode(code.code_id, bytes(16), code.pin))[0])
    join(stage, code)
    assert [source.value for source, _ in sources] == ["192.0.2.7"] * 2 and sources[0][1] < sources[1][1]


def test_a_code_that_was_printed_outlives_the_authority(
    stage: FakeAuthorityService, folder: int, tmp_path: Path
) -> None:
    code = code_for(stage, "phone")
    (tmp_path / "other").mkdir()
    again = FakeAuthorityService(tmp_path / "other", folder, state=StateFile(folder).load())
    again.wall = stage.wall
    again.join(PRIMARY, SECONDARY, THIRD)
    assert is_let_in(again, 1, join(again, code))
    assert b"phone" in (tmp_path / "authority.state").read_bytes()
    assert code.secret not in (tmp_path / "authority.state").read_bytes(), "no secret is on the disk"


def test_what_the_disk_refuses_uses_no_code_up(stage: FakeAuthorityService, folder: int) -> None:
    code = code_for(stage, "phone")
    os.mkdir("authority.state.new", dir_fd=folder)
    assert say(stage, asking(code)[0]) is None
    assert ask(stage, "client_add", "other", STORE, DAY, 0, b"", KEY, "")[0] == Outcome.UNCHANGED
    os.rmdir("authority.state.new", dir_fd=folder)
    assert "other" not in stage.state.enrolled
    assert is_let_in(stage, 1, join(stage, code))


def test_a_record_that_cannot_be_written_lets_nobody_in(stage: FakeAuthorityService) -> None:
    class Deaf(NoRecorder):
        def before(
            self, kind: str, subject: str, detail: object, moment: Moment, then: Any, otherwise: Any,
            patience: Patience = OPERATOR,
        ) -> None:  # fmt: skip
            otherwise("the record cannot be written")

    code = code_for(stage, "phone")
    stage.recorder.target = Deaf()
    assert say(stage, asking(code)[0]) is None
    assert ask(stage, "client_add", "other", STORE, DAY, 0, b"", KEY, "") == (
        Outcome.UNCHANGED,
        ["the record cannot be written"],
    )
    assert not stage.state.enrolled["phone"].certificates and "other" not in stage.state.enrolled


def test_a_locked_host_lets_nobody_in(stage: FakeAuthorityService) -> None:
    code = code_for(stage, "phone")
    stage.lock.engage("a test", "a detector", stage.moment)
    assert say(stage, asking(code)[0]) is None
    assert ask(stage, "client_add", "other", STORE, DAY, 0, b"", KEY, "")[0] == Outcome.REFUSED
    assert ask(stage, "client_revoke", "phone")[0] == Outcome.DONE, "who is shut out is shut out"


def test_a_new_code_or_bundle_ends_the_code_before(stage: FakeAuthorityService) -> None:
    first = code_for(stage, "phone")
    second, _ = code_from(stage, "client_renew", "phone", 0)
    assert say(stage, asking(first)[0]) is None
    request, _ = pki.make_request()
    assert ask(stage, "client_renew", "phone", 0, request, b"")[0] == Outcome.DONE
    assert say(stage, asking(second)[0]) is None


def test_a_client_renewed_by_code_keeps_its_old_certificate_until_then(stage: FakeAuthorityService) -> None:
    old = add(stage, "phone")
    code, _ = code_from(stage, "client_renew", "phone", 0)
    assert is_let_in(stage, 1, old)
    new = join(stage, code)
    assert is_let_in(stage, 2, Client(old.issued)) and is_let_in(stage, 3, new)
    assert not is_let_in(stage, 4, Client(old.issued))


def test_only_primary_may_bring_clients(stage: FakeAuthorityService) -> None:
    said, _ = asking(code_for(stage, "phone"))
    with pytest.raises(PeerError, match="not_primary"):
        stage.hear("secondary", "enrol", 1, "", *said)


@given(st.binary(max_size=8), st.binary(max_size=300), st.binary(max_size=40))
def test_whatever_a_captured_primary_says_is_refused(code_id: bytes, request: bytes, mac: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = os.open(name, os.O_RDONLY)
        try:
            stage = _shared(Path(name), folder)
            assert say(stage, (code_id, request, mac)) is None
        finally:
            os.close(folder)


_STAGES: list[FakeAuthorityService] = []


def _shared(folder: Path, descriptor: int) -> FakeAuthorityService:
    """One stage for all examples: what is refused changes nothing."""
    if not _STAGES:
        _STAGES.append(ready(FakeAuthorityService(folder, descriptor)))
    return _STAGES[0]


CODES = st.builds(PendingCode, st.binary(min_size=5, max_size=5), st.text(max_size=5), *[st.integers(0, 1 << 50)] * 3)


@given(st.lists(CODES, max_size=4, unique_by=lambda code: code.code_id))
def test_codes_survive_their_encoding(codes: list[PendingCode]) -> None:
    known = {code.code_id: code for code in codes}
    assert decode_codes(encode_codes(known)) == known


def test_a_host_that_is_locked_meanwhile_enrols_no_client(stage: FakeAuthorityService) -> None:
    code = code_for(stage, "phone")
    stage.store.is_held = True
    stage.hear("primary", "enrol", 9, "192.0.2.7", *asking(code)[0])
    stage.lock.engage("seen at the gate", "authority", stage.moment)
    stage.store.is_held = False
    for _ in range(3):
        stage.dispatcher.tick(stage.moment)
    assert stage.lock.is_locked and not stage.state.enrolled["phone"].certificates


def test_a_late_answer_goes_to_the_primary_that_asked_and_to_no_other(stage: FakeAuthorityService) -> None:
    """The next one counts its connections anew, and that of a locked host ends for what it does not know."""
    code = code_for(stage, "phone")
    stage.store.is_held = True
    stage.hear("primary", "enrol", 9, "192.0.2.7", *asking(code)[0])
    stage.ask("spawned", "primary", 2)
    stage.hear("primary", "join")
    before = len(stage.said)
    stage.store.is_held = False
    for _ in range(3):
        stage.dispatcher.tick(stage.moment)
    assert stage.state.enrolled["phone"].certificates, "it is enrolled, and its client can ask for another code"
    assert not [name for _, name, _ in stage.said[before:] if name in ("enrolled", "not_enrolled")]


@pytest.mark.parametrize("key", [b"", b"short", bytes(32), bytes(33)])
def test_a_code_is_made_for_the_holder_of_a_key_alone(stage: FakeAuthorityService, key: bytes) -> None:
    code, rows = ask(stage, "client_add", "phone", STORE, DAY, 0, b"", key, "")
    assert code == Outcome.REFUSED and "key" in rows[0], rows
    assert not stage.state.enrolled and not stage.state.join_codes


def test_what_the_supervisor_carries_tells_no_code(stage: FakeAuthorityService) -> None:
    code = code_for(stage, "phone")
    answers = [repr(told) for told in stage.told if told[0] == "answer"]
    forms = (code.text(), code.text().split("-")[1], code.secret.hex(), repr(code.secret)[2:-1])
    assert answers and not any(form in answer for form in forms for answer in answers)


def test_who_comes_second_with_a_link_is_told_of_with_the_address(stage: FakeAuthorityService) -> None:
    code, old = code_for(stage, "phone"), code_for(stage, "tablet")
    join(stage, code)
    notes = stage.new_notes()
    assert say(stage, asking(code)[0], connection=10) is None
    request, _ = pki.make_request()
    assert say(stage, (code.code_id, request, bytes(32)), connection=11) is None  # who has the id alone is no holder
    stage.wall += LIFE_MS + 1
    assert say(stage, asking(old)[0], connection=12) is None
    told = [tuple(one) for one in notes._waiting if one[0] in ("join_code_reused", "client_refused")]
    assert told[0] == ("join_code_reused", "client/phone", "", {"address": "192.0.2.7"})
    assert [one[2] for one in told[1:]] == ["join_code_unknown", "join_code_over"]
