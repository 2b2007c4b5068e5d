"""Jobs in the authority, with both clocks in the hand of the test and a target that may be captured."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fakes.authority_service import THIRD
from hosts.authority_host import ADMIN
from hosts.job_authority import CALL, CONSOLE, STORE, Host

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.trust import TRUST
from tlsrt.channels.frames.frame import NAME_MAX
from tlsrt.channels.session.job_proof import job_data, prove_job
from tlsrt.config import pki
from tlsrt.config.access import ClientConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.jobs.admin import PAGE
from tlsrt.supervisor.authority.jobs.puts import PUTS_OF_ONE
from tlsrt.supervisor.authority.jobs.runs import RETRY_MS, RUNNING_OF_TARGET
from tlsrt.supervisor.authority.model.client_registry import Enrolled
from tlsrt.supervisor.authority.model.jobs import JOBS_OF_ONE
from tlsrt.supervisor.authority.model.state import AuthorityState, decode_state, encode_state
from tlsrt.when import TEXT_MAX

HOUR = 3_600_000


@pytest.fixture
def host(tmp_path: Path, store: int) -> Host:
    return Host(tmp_path, store)


def test_a_job_runs_once_when_it_is_due_in_the_name_of_its_owner(host: Host) -> None:
    job = host.put("+60")
    host.stage.pass_time(59_000)
    assert host.runs() == []
    host.stage.pass_time(2_000)
    (run,) = host.runs()
    assert run == (STORE, job, 1, "client/admin", "put", CALL, b"")
    assert host.the(job).outcome == "running"
    host.over(run)
    assert (host.the(job).outcome, host.the(job).due, host.the(job).call) == ("done", 0, b"")
    host.stage.pass_time(HOUR)
    assert len(host.runs()) == 1 and job in host.state.jobs
    host.stage.now, host.stage.wall = host.stage.now + 24 * HOUR, host.stage.wall + 24 * HOUR  # it is listed for a day
    host.stage.pass_time(1_000)
    assert job not in host.state.jobs


def test_a_time_of_day_comes_again_and_each_is_written_before_it_runs(host: Host) -> None:
    job = host.put("*/10 * * * *")
    for number in (1, 2, 3):
        host.stage.pass_time(600_000)
        assert host.runs()[-1][2] == number
        on_disk = decode_state(encode_state(host.state)).jobs[job]
        assert (on_disk.run, on_disk.outcome) == (number, "running")
        assert on_disk.due > host.stage.wall
        host.over(host.runs()[-1])
    assert len(host.runs()) == 3


def test_nothing_is_told_to_run_before_that_is_on_the_disk(host: Host) -> None:
    job = host.put()
    host.stage.store.is_held = True
    host.stage.pass_time(61_000)
    assert host.runs() == []
    host.stage.store.is_held = False
    host.stage.pass_time(1_000)
    assert [run[1] for run in host.runs()] == [job]


def test_a_put_is_acknowledged_when_it_is_on_the_disk_and_refused_when_it_cannot_be(host: Host) -> None:
    host.stage.store.is_held = True
    fields = host.fields()
    host.stage.hear("secondary", "job_put", *fields.values())
    host.stage.hear("secondary", "job_put", *(fields | {"number": 7}).values())  # asked again meanwhile
    assert host.stage.of("secondary", "job_answer") == []
    host.stage.store.is_held = False
    host.stage.pass_time(100)
    assert host.stage.of("secondary", "job_answer") == [(1, "", []), (7, "", [])]
    assert len(host.state.jobs) == 1
    host.stage.store.is_full = True
    assert host.say(host.fields())[0] == "unavailable"
    assert len(host.state.jobs) == 1


def test_a_run_waits_for_a_disk_that_refuses(host: Host) -> None:
    host.put()
    host.stage.store.is_full = True
    host.stage.pass_time(70_000)
    assert host.runs() == []
    host.stage.store.is_full = False
    host.stage.pass_time(RETRY_MS + 1_000)
    assert len(host.runs()) == 1
    assert host.runner._not_before == {}


# Attacks


@pytest.mark.parametrize(
    "change",
    [
        {"method": "get"}, {"when": "+1"}, {"missed": "skip"}, {"call": b"\x93\x91\x01\x80\xc0"}, {"job": b"another_"},
        {"proof": bytes(16)}, {"proof_number": 9}, {"deadline": 1_031_000}, {"key": bytes(32)},
    ],
)  # fmt: skip
def test_a_captured_target_changes_no_job_on_the_way(host: Host, change: dict[str, Any]) -> None:
    code, _ = host.say(host.fields() | change)
    assert code == "stale"
    assert host.state.jobs == {}
    assert "unproved" in host.reasons()


def test_a_captured_target_makes_no_job_up_in_the_name_of_a_client(host: Host) -> None:
    """It knows the ids of the sessions that call it, and the keys of their bodies; not that of their proofs."""
    session = host.session().session_id
    data = job_data(session, STORE, "put", host.stage.now + 1, b"12345678", "+1", "once", CALL)
    for key in (bytes(32), os.urandom(32), host.puts._messages.proof_key(host.session(CONSOLE), 5)):
        fields = host.fields() | {"when": "+1", "job": b"12345678", "deadline": host.stage.now + 1}
        fields["proof"] = prove_job(AESGCM(key), fields["proof_number"], data)
        assert host.say(fields)[0] == "stale"
    assert host.state.jobs == {}


def test_a_target_brings_jobs_for_nobody_but_its_own_components(host: Host) -> None:
    with pytest.raises(PeerError, match="not_its_component"):
        host.say(host.fields(), loop="third")
    for name, *fields in (("job_list", 1, STORE, "client/admin"), ("job_remove", 1, STORE, "client/admin", bytes(8))):
        with pytest.raises(PeerError, match="not_its_component"):
            host.stage.hear("third", str(name), *fields)
    job = host.put()
    host.stage.pass_time(61_000)
    with pytest.raises(PeerError, match="not_its_component"):
        host.over(host.runs()[0], loop="third")
    host.stage.hear("third", "job_over", CONSOLE, job, 1, "done", b"")  # as its own, which it is not
    assert host.the(job).outcome == "running"
    host.stage.hear("third", "job_list", 1, CONSOLE, "client/admin")
    assert host.answer("third") == ("", [])
    host.stage.hear("third", "job_remove", 1, CONSOLE, "client/admin", job)
    assert host.answer("third")[0] == "not_found"


def test_a_job_that_was_removed_is_not_put_again_by_what_was_heard(host: Host) -> None:
    fields = host.fields()
    host.say(fields)
    host.stage.hear("secondary", "job_remove", 1, STORE, "client/admin", fields["job"])
    assert host.answer() == ("", [])
    assert host.say(fields)[0] == "conflict"
    host.stage.pass_time(31_000)
    assert host.say(fields)[0] == "stale"  # its proof is over
    assert host.state.jobs == {}


def test_a_second_proof_of_a_job_puts_it_no_more_often_than_the_first(host: Host) -> None:
    """The caller asked again while the first was written, or after; its target keeps both proofs."""
    for is_removed_before in (False, True):
        first = host.fields(job=os.urandom(8))
        host.say(first)
        host.stage.pass_time(20_000)
        if not is_removed_before:
            again = host.fields(job=first["job"])
            assert host.say(again) == ("", [])
        host.stage.hear("secondary", "job_remove", 1, STORE, "client/admin", first["job"])
        if is_removed_before:
            again = host.fields(job=first["job"])
            assert host.say(again)[0] == "conflict"
        host.stage.pass_time(15_000)
        assert host.say(first)[0] == "stale"
        assert host.say(again)[0] == "conflict"
        assert host.state.jobs == {}


def test_a_method_is_no_longer_than_a_name_and_every_list_fits_a_packet(host: Host) -> None:
    """A right to all methods lets an owner name any."""
    host.puts._messages.take(0, {"client/admin": {STORE: ("*",)}})
    assert host.say(host.fields(method="m" * (NAME_MAX + 1)))[0] == "invalid_argument"
    assert host.say(host.fields(method=""))[0] == "invalid_argument"
    wide = "\u3000" * (TEXT_MAX - 9)
    host.stage.pass_time(3_000)
    for _ in range(JOBS_OF_ONE):
        host.put(f"* *{wide}* * *", method="\U0001f375" * NAME_MAX)
    job = next(iter(host.state.jobs.values()))
    host.stage.hear("secondary", "job_list", 1, STORE, "client/admin")
    _, rows = host.answer()
    assert len(rows) == JOBS_OF_ONE
    TRUST.encode("job_answer", 1, "", rows)
    for number in range(2 * PAGE):
        host.state.jobs[number.to_bytes(8, "big")] = replace(job, job=number.to_bytes(8, "big"))
    host.stage.ask("job_list", 1, b"")
    answer = [told for told in host.stage.told if told[0] == "answer"][-1]
    assert answer[4][-1] == ["more"]
    AUTHORITY_CHANNEL.encode(*answer)


def test_a_change_that_is_in_force_and_not_on_the_disk_is_not_said_to_have_done_nothing(host: Host) -> None:
    job = host.put()
    host.stage.store.is_held = True
    host.stage.hear("secondary", "job_remove", 1, STORE, "client/admin", job)
    host.stage.pass_time(6_000)
    assert host.state.jobs == {} and host.answer()[0] == "outcome_unknown"
    host.stage.store.is_held = False


def test_the_answer_to_a_removal_goes_to_the_process_that_asked(host: Host) -> None:
    job = host.put()
    answers = len(host.stage.of("secondary", "job_answer"))
    host.stage.store.is_held = True
    host.stage.hear("secondary", "job_remove", 1, STORE, "client/admin", job)
    host.stage.ask("gone", "secondary", 2)
    host.stage.ask("spawned", "secondary", 3)
    host.stage.join(("secondary", 3))
    host.stage.store.is_held = False
    host.stage.pass_time(1_000)
    assert len(host.stage.of("secondary", "job_answer")) == answers
    assert host.state.jobs == {}


def test_the_proof_of_a_session_that_has_ended_is_none(host: Host) -> None:
    fields = host.fields()
    host.stage.revocations.revoke_session(host.session().session_id, host.stage.moment)
    assert host.say(fields)[0] == "stale"


def test_a_component_puts_only_what_the_policy_lets_it_call(host: Host) -> None:
    assert host.say(host.fields(subject=CONSOLE, method="put"))[0] == ""
    assert host.say(host.fields(subject=CONSOLE, method="scan"))[0] == "denied"


def test_a_flood_of_jobs_is_bounded_for_one_owner_and_leaves_room_for_others(host: Host) -> None:
    codes = [host.say(host.fields("+3600"))[0] for _ in range(PUTS_OF_ONE + 8)]
    assert codes == [""] * PUTS_OF_ONE + ["busy"] * 8
    host.stage.pass_time(60_000)
    code, (sentence,) = host.say(host.fields("+3600"))
    assert code == "busy" and f"{JOBS_OF_ONE} jobs of client/admin" in sentence
    assert host.say(host.fields(subject=CONSOLE))[0] == ""


def test_one_that_is_over_makes_room(host: Host) -> None:
    jobs = [host.put("+60") for _ in range(JOBS_OF_ONE)]
    host.stage.pass_time(61_000)
    for number in range(JOBS_OF_ONE):
        host.over(host.runs()[number])
        host.stage.pass_time(1_000)
    assert {host.the(job).outcome for job in jobs} == {"done"}
    host.put()
    assert len(host.state.jobs) == JOBS_OF_ONE


def test_runs_of_one_target_are_few_at_a_time(host: Host) -> None:
    for _ in range(20):
        host.put("+60")
    host.stage.pass_time(62_000)
    assert len(host.runs()) == RUNNING_OF_TARGET
    host.over(host.runs()[0])
    host.stage.pass_time(1_000)
    assert len(host.runs()) == RUNNING_OF_TARGET + 1


def test_a_client_whose_session_primary_holds_puts_no_job(tmp_path: Path, store: int) -> None:
    client = ClientConfig("admin", pki.fingerprint(ADMIN.certificate_pem), http=True)
    host = Host(tmp_path, store, clients=(client,))
    code, (sentence,) = host.say(host.fields())
    assert code == "denied" and "HTTP" in sentence and "http_jobs" in sentence
    (tmp_path / "other").mkdir()
    door = replace(host.stage.config.door, http_jobs=True)
    Host(tmp_path / "other", store, clients=(client,), door=door).put()


def test_the_id_of_a_job_that_is_being_written_belongs_to_its_owner(host: Host) -> None:
    host.stage.store.is_held = True
    fields = host.fields(job=b"same_id_")
    host.stage.hear("secondary", "job_put", *fields.values())
    other = host.fields(job=b"same_id_", subject=CONSOLE)
    assert host.say(other)[0] == "conflict"


# Who has left, and what has changed


def test_the_job_of_a_revoked_owner_does_not_run(host: Host) -> None:
    job, again = host.put("+60"), host.put("*/10 * * * *")
    host.stage.revocations.revoke_subjects(["client/admin"], 0, host.stage.moment)
    host.stage.pass_time(700_000)
    assert host.runs() == []
    assert {host.the(one).outcome for one in (job, again)} == {"revoked"}
    assert host.the(job).is_over and not host.the(again).is_over
    assert set(host.reasons()) == {"revoked"}


def test_an_owner_who_is_revoked_while_the_run_is_written_does_not_run(host: Host) -> None:
    host.put("+60")
    host.stage.pass_time(58_000)
    host.stage.store.is_held = True
    host.stage.pass_time(3_000)
    host.stage.revocations.revoke_subjects(["client/admin"], 0, host.stage.moment)
    host.stage.store.is_held = False
    host.stage.pass_time(1_000)
    assert host.runs() == []


def test_jobs_end_with_their_client_and_another_of_its_name_has_none(host: Host) -> None:
    registry = host.runner._registry
    registry.put(Enrolled("phone", ((STORE, ("put",)),), False, 60_000, added=5))
    host.stage.context.sessions.open_client("client/phone", b"", host.stage.now)
    session = host.session("client/phone")
    host.stage.context.sessions.opened(session)
    job = host.put(subject="client/phone")
    registry.put(Enrolled("phone", ((STORE, ("put",)),), False, 90_000, added=5))
    host.stage.pass_time(1_000)
    assert job in host.state.jobs
    registry.put(Enrolled("phone", ((STORE, ("put",)),), False, 60_000, added=6))
    host.stage.pass_time(1_000)
    assert host.state.jobs == {}
    assert host.reasons() == ["left"]


def test_a_policy_that_has_changed_refuses_the_run_and_keeps_the_time_of_day(host: Host) -> None:
    job = host.put("*/10 * * * *")
    messages = host.puts._messages
    before = messages.table
    messages.take(0, {})
    host.stage.pass_time(600_000)
    assert host.runs() == [] and host.the(job).outcome == "policy" and host.reasons() == ["policy"]
    messages.take(0, before)
    host.stage.pass_time(600_000)
    assert len(host.runs()) == 1


def test_a_component_that_a_reload_removes_takes_its_jobs_along(host: Host) -> None:
    host.put("+3600")
    host.stage.pass_time(1_000)
    host.stage.context.loops.change({"primary": ("primary/kernel",), "third": (CONSOLE,)})
    host.stage.ask("gone", "secondary", 2)
    host.stage.pass_time(1_000)
    assert host.state.jobs == {}


def test_a_component_that_a_reload_moves_to_another_living_process_keeps_its_jobs(host: Host) -> None:
    job = host.put("+60")
    host.stage.pass_time(1_000)
    host.stage.context.loops.change({"primary": ("primary/kernel",), "third": (CONSOLE, STORE)})
    host.stage.pass_time(1_000)
    host.stage.ask("gone", "secondary", 2)
    host.stage.pass_time(70_000)  # it is due, and in no process
    assert host.the(job).outcome == "" and host.reasons() == []
    host.stage.ask("gone", "third", THIRD[1])
    host.stage.ask("spawned", "third", 4)
    host.stage.join(("third", 4))
    host.stage.pass_time(1_000)
    assert [run[1] for run in host.runs("third")] == [job]


# The operator


def test_an_operator_lists_and_removes_jobs_of_anybody(host: Host) -> None:
    job = host.put("+60")
    host.stage.ask("job_list", 1, b"")
    answers = [told for told in host.stage.told if told[0] == "answer"]
    assert answers[-1][4][0][:4] == [job, "client/admin", STORE, "put"]
    for text in ("zz", "0000", job.hex()[:4]):
        host.stage.ask("job_remove", 2, text)
    assert host.state.jobs == {}
    host.stage.pass_time(100_000)
    assert host.runs() == []


def test_jobs_outlive_the_process_in_the_state(host: Host) -> None:
    host.put("30 6 * * *", missed="skip")
    assert decode_state(encode_state(host.state)).jobs == host.state.jobs
    assert decode_state(encode_state(AuthorityState())).jobs == {}
