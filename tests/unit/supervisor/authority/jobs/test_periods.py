"""Jobs that come again: periods, jitter, how late a run may be, pausing; and clocks that are wrong by anything."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hosts.job_authority import CONSOLE, STORE, Host
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.trust import TRUST
from tlsrt.channels.session.job_result import SEALED_MAX, open_result, result_key, seal_result
from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority.jobs.puts import PUTS_OF_ONE
from tlsrt.supervisor.authority.jobs.runs import AWAY_MS, RETRY_MS
from tlsrt.supervisor.authority.jobs.schedule import (
    after_jump,
    at_start,
    first_due,
    following,
    is_missed,
    next_due,
    resumed,
    upcoming,
)
from tlsrt.supervisor.authority.model.jobs import JOBS_OF_ONE, PAST_MAX, Job, Past, decode_jobs, encode_jobs
from tlsrt.supervisor.authority.model.state import decode_state, encode_state
from tlsrt.when import parse_when_untrusted

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WALL = 1_800_000_000_000
ID = b"\0\0\0\0\0\0\x30\x39"  # 12345


def utc(at: int) -> int:
    return 0


def job_of(when: str, *, wall: int = WALL, missed: str = "once", job: bytes = ID) -> Job:
    due = first_due(when, job, wall, utc)
    first = due if when[0] == "%" else 0
    return Job(job, "client/a", "x", STORE, "put", when, missed, b"c", b"d", due, wall, first=first)


@pytest.fixture
def host(tmp_path: Path, store: int) -> Host:
    return Host(tmp_path, store)


# When it is due. Pure


def test_a_period_stays_on_its_grid_however_late_each_run_is() -> None:
    job, wall, chance = job_of("%600"), WALL, random.Random(7)
    for number in range(1, 50):
        assert job.due == WALL + number * 600_000
        wall = job.due + chance.randrange(590_000)
        job = following(job, wall, utc)


def test_a_jitter_moves_all_times_of_a_job_by_the_same_and_keeps_their_number() -> None:
    for base in ("%600", "*/10 * * * *"):
        plain, late = job_of(base), job_of(f"{base} ~30")
        assert late.due - plain.due == 12_345
        for _ in range(10):
            plain, late = following(plain, plain.due, utc), following(late, late.due, utc)
            assert late.due - plain.due == 12_345
    spread = {job_of("30 6 * * * ~30", job=random.Random(n).randbytes(8)).due for n in range(200)}
    assert len(spread) > 150 and max(spread) - min(spread) <= 30_000


def test_the_next_times_are_shown_and_a_job_of_one_time_has_one() -> None:
    job = job_of("30 6 * * *")
    assert [due - job.due for due in upcoming(job, utc)] == [number * DAY for number in range(5)]
    assert len(upcoming(job_of("+60"), utc)) == 1
    assert upcoming(replace(job, paused="its owner"), utc) == []


def test_a_run_is_missed_when_it_is_later_than_its_owner_allows() -> None:
    bounded, skipped, always = (job_of("+60", missed=missed) for missed in ("+3600", "skip", "once"))
    assert not is_missed(bounded, bounded.due + HOUR) and is_missed(bounded, bounded.due + HOUR + 1)
    assert not is_missed(skipped, skipped.due + MINUTE) and is_missed(skipped, skipped.due + MINUTE + 1)
    assert not is_missed(always, always.due + 400 * DAY)
    waits = replace(bounded, slot=bounded.due, due=bounded.due + HOUR)  # for a target that is away
    assert is_missed(waits, waits.due + 1)


def test_a_time_of_a_month_ago_is_followed_by_the_next_one_of_now_at_once() -> None:
    for when in ("* * * * *", "%30", "*/5 * * * * ~200"):
        job = job_of(when)
        now = WALL + 30 * DAY
        after = following(job, now, utc)
        assert now < after.due <= now + 500_000
        assert following(after, now, utc) == after


@given(
    st.sampled_from(["* * * * *", "%30", "%600 ~600", "30 6 * * * ~60", "0 0 29 2 *", "+90", "@1800000600"]),
    st.lists(st.tuples(st.integers(-400 * DAY, 400 * DAY), st.integers(0, 2 * HOUR)), max_size=12),
)
def test_no_change_of_the_clock_makes_a_job_run_more_often_than_time_passes(
    when: str, steps: list[tuple[int, int]]
) -> None:
    """Each step moves the wall clock, is noticed, and then real time passes in looks of half an hour at most."""
    job, wall, real, runs = job_of(when), WALL, 0, 0
    for jump, passes in steps:
        wall += jump
        job = after_jump(job, jump, wall, utc)
        for _ in range(4):
            if job.due and job.due <= wall:
                runs += 1
                job = following(job, wall, utc)
                assert not job.due or job.due > wall  # nothing is made up for twice
            wall, real = wall + passes // 4, real + passes // 4
    span = {"* * * * *": MINUTE, "%30": 30_000, "%600 ~600": 600_000}.get(when, DAY)
    moved = 1 if when[0] == "%" else len(steps)  # a change of less than 3 h may pass one time of day over, for each
    assert runs <= (1 if when[0] in "+@" else real // span + 1 + moved)


@given(st.integers(-30 * DAY, 30 * DAY), st.integers(30, 86_400))
def test_a_period_never_waits_for_long_after_a_start_with_another_clock(jump: int, seconds: int) -> None:
    job = job_of(f"%{seconds}")
    found = at_start(job, WALL + jump, utc)
    assert found.due - (WALL + jump) <= max(2, 2) * seconds * 1000
    assert (found.due - found.first) % (seconds * 1000) == 0


def test_a_job_that_is_resumed_leaves_out_what_came_meanwhile_but_the_only_time_of_one() -> None:
    daily, once = (replace(job_of(when), paused="its owner") for when in ("30 6 * * *", "+60"))
    now = WALL + 3 * DAY
    assert resumed(daily, now, utc).due == next_due(daily, now, utc) > now
    assert (resumed(once, now, utc).due, resumed(once, now, utc).paused) == (once.due, "")
    assert resumed(daily, WALL + 1, utc).due == daily.due


# In the state


def test_jobs_of_a_release_before_periods_are_read() -> None:
    job = replace(job_of("30 6 * * *"), history=(Past(1, 2, "done"),), paused="an operator")
    (row,) = encode_jobs({ID: job})
    assert decode_jobs([[*row[:-1], [[1, 2, "done"]]]]) == {ID: job}
    assert decode_jobs([row[:16]]) == {ID: replace(job, history=(), paused="", first=0, slot=0)}
    for broken in (row[:15], [*row[:-1], [[1, 2]]], [*row[:-1], [1]], [*row[:7], b"x", *row[8:]], [*row, 1]):
        with pytest.raises(ConfigError):
            decode_jobs([broken])
    with pytest.raises(ConfigError):
        decode_jobs([[*row[:6], "+5", *row[7:-1], []]])  # so late it may be: 5 s
    assert len(astuple(job)) == len(row)


# In the authority


def test_a_host_that_was_off_for_a_month_runs_each_job_once(host: Host, tmp_path: Path, store: int) -> None:
    jobs = {host.put(when) for when in ("* * * * *", "%30", "%600 ~60")}
    skip, bounded = host.put("* * * * *", missed="skip"), host.put("%600", missed="+3600")
    host.stage.pass_time(1_000)
    kept = decode_state(encode_state(host.state))
    (tmp_path / "next").mkdir()
    after = Host(tmp_path / "next", store, state=kept)
    after.stage.wall = host.stage.wall + 30 * DAY + 90_000
    after.stage.pass_time(2_000)
    assert sorted(run[1] for run in after.runs()) == sorted(jobs)
    assert {after.the(one).outcome for one in (skip, bounded)} == {"missed"}
    for run in after.runs():
        after.over(run)
    after.stage.pass_time(25_000)
    assert len(after.runs()) == len(jobs)  # none is due: each goes on from now
    assert all(after.the(one).due > after.stage.wall for one in (*jobs, skip, bounded))


def test_a_period_goes_on_when_a_run_fails_or_its_target_is_away(host: Host) -> None:
    job = host.put("%600")
    first = host.the(job).due
    host.stage.pass_time(600_500)
    host.over(host.runs()[-1], "failed")
    host.stage.pass_time(600_000)
    host.over(host.runs()[-1], "away")
    host.stage.pass_time(AWAY_MS + 1_000)
    host.over(host.runs()[-1])
    assert len(host.runs()) == 3 and host.the(job).due == first + 1_200_000
    assert [past.outcome for past in host.the(job).history] == ["failed", "done"]


def test_a_target_that_is_away_for_longer_than_a_run_may_be_late_has_none(host: Host) -> None:
    job = host.put("+60", missed="+120")
    for _ in range(300):
        host.stage.pass_time(1_000)
        if host.runs() and host.the(job).began:
            host.over(host.runs()[-1], "away")
    assert host.the(job).outcome == "missed" and host.the(job).is_over


def test_the_last_ends_are_kept_and_no_more(host: Host) -> None:
    job = host.put("%60")
    host.stage.pass_time(2_000)
    for number in range(PAST_MAX + 3):
        host.stage.pass_time(60_000)
        host.over(host.runs()[-1], "done" if number % 2 else "busy")
    history = host.the(job).history
    assert len(history) == PAST_MAX and {past.outcome for past in history} == {"done", "busy"}
    assert all(1_000 <= past.took <= 2_000 for past in history)


def test_an_owner_pauses_shows_and_resumes_its_job_and_no_other_does(host: Host) -> None:
    job = host.put("%60")
    host.stage.hear("secondary", "job_pause", 1, STORE, "client/admin", job)
    assert host.answer() == ("", [])
    host.stage.pass_time(HOUR)
    assert host.runs() == []
    host.stage.hear("secondary", "job_list", 2, STORE, "client/admin")
    assert host.answer()[1][0][4:] == [0, 0, 0, "paused"]
    host.stage.hear("secondary", "job_show", 3, STORE, "client/admin", job)
    code, (row, times, history, paused_by, call, *_) = host.answer()
    assert (code, row[0], times, history, paused_by, call) == ("", job, [], [], "its owner", b"\x93\x90\x80\xc0")
    for name in ("job_show", "job_pause", "job_resume"):
        host.stage.hear("third", name, 4, CONSOLE, "client/admin", job)
        assert host.answer("third")[0] == "not_found"
        host.stage.hear("secondary", name, 5, STORE, CONSOLE, job)
        assert host.answer()[0] == "not_found"
    host.stage.hear("secondary", "job_resume", 6, STORE, "client/admin", job)
    assert host.answer() == ("", [])
    host.stage.pass_time(500)
    assert host.runs() == []  # times that came meanwhile are left out
    host.stage.pass_time(60_500)
    assert len(host.runs()) == 1


def test_what_an_operator_has_paused_its_owner_does_not_resume(host: Host) -> None:
    job = host.put("+60")
    host.stage.ask("job_pause", 1, job.hex()[:6])
    host.stage.hear("secondary", "job_pause", 2, STORE, "client/admin", job)
    host.stage.hear("secondary", "job_resume", 3, STORE, "client/admin", job)
    assert host.answer()[0] == "denied"
    host.stage.pass_time(HOUR)
    assert host.runs() == []
    host.stage.ask("job_show", 4, job.hex())
    row, times, history, paused_by = [told for told in host.stage.told if told[0] == "answer"][-1][4]
    assert (row[1], times, history, paused_by) == ("client/admin", [], [], "an operator")
    host.stage.ask("job_resume", 5, job.hex())
    host.stage.pass_time(1_000)
    assert [run[1] for run in host.runs()] == [job]  # its only time is made up for


def test_a_flood_of_pauses_is_bounded_by_the_second(host: Host) -> None:
    """Each is a record and a write; a captured target may say it for those who have jobs there."""
    job = host.put("%60")
    codes = []
    for number in range(PUTS_OF_ONE + 6):
        host.stage.hear("secondary", ("job_pause", "job_resume")[number % 2], number, STORE, "client/admin", job)
        codes.append(host.answer()[0])
    assert codes == [""] * PUTS_OF_ONE + ["busy"] * 6
    assert host.say(host.fields())[0] == ""  # puts are counted apart


def test_a_thousand_jobs_of_one_client_are_bounded(host: Host) -> None:
    codes = Counter[str]()
    for number in range(1_000):
        codes[host.say(host.fields("%60"))[0]] += 1
        if number % 10 == 0:
            host.stage.now, host.stage.wall = host.stage.now + 1_000, host.stage.wall + 1_000
    assert codes[""] == JOBS_OF_ONE == len(host.state.jobs) and codes["busy"] == 1_000 - JOBS_OF_ONE
    assert len(encode_state(host.state)) < 16_384


def test_a_job_that_is_paused_while_its_run_is_written_does_not_run(host: Host) -> None:
    job = host.put("+60")
    host.stage.pass_time(59_000)
    host.stage.store.is_held = True
    host.stage.pass_time(2_000)
    host.stage.hear("secondary", "job_pause", 1, STORE, "client/admin", job)
    host.stage.store.is_held = False
    host.stage.pass_time(MINUTE)
    assert host.runs() == [] and host.the(job).paused


def test_the_jobs_of_a_revoked_owner_do_not_run_when_they_are_resumed(host: Host) -> None:
    job = host.put("%60")
    host.stage.ask("job_pause", 1, job.hex())
    host.stage.revocations.revoke_subjects(["client/admin"], 0, host.stage.moment)
    host.stage.ask("job_resume", 2, job.hex())
    host.stage.pass_time(HOUR)
    assert host.runs() == [] and host.the(job).outcome == "revoked"


def test_a_result_is_kept_sealed_for_its_owner_and_only_if_that_has_asked(host: Host) -> None:
    key = result_key(b"secret", b"of a job")
    job = host.put("%60", job=b"of a job", key=key.public_key().public_bytes_raw())
    plain = host.put("%60")

    def run_both(number: int) -> None:
        host.stage.pass_time(60_000)
        for run in host.runs()[-2:]:
            sealed = seal_result(key.public_key().public_bytes_raw(), run[1], run[2], "done", run[2])
            host.over(run, result=sealed if number < 3 else bytes(SEALED_MAX + 1))

    run_both(1)
    run_both(2)
    host.stage.hear("secondary", "job_show", 1, STORE, "client/admin", job)
    *_, number, sealed = host.answer()[1]
    assert (number, open_result(key, job, number, sealed)) == (2, ("done", 2))
    assert host.the(plain).result == b"" and {run[6] for run in host.runs() if run[1] == plain} == {b""}
    host.stage.ask("job_show", 2, job.hex())
    assert sealed not in [told for told in host.stage.told if told[0] == "answer"][-1][4]
    assert decode_state(encode_state(host.state)).jobs == host.state.jobs
    run_both(3)
    assert (host.the(job).run, host.the(job).result) == (3, b"")  # one that is too large is none


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "done"])
def test_a_run_that_ends_without_a_result_leaves_none_of_the_run_before(host: Host, outcome: str) -> None:
    key = result_key(b"secret", b"of a job").public_key().public_bytes_raw()
    job = host.put("%60", job=b"of a job", key=key)
    host.stage.pass_time(61_000)
    host.over(host.runs()[-1], result=seal_result(key, job, 1, "done", 5))
    assert host.the(job).result_run == 1
    host.stage.pass_time(60_000)
    assert host.the(job).result_run == 1  # of the last one that ended
    host.over(host.runs()[-1], outcome)
    assert (host.the(job).outcome, host.the(job).result, host.the(job).result_run) == (outcome, b"", 0)


def test_a_period_goes_by_the_time_that_passes_when_the_clock_is_set_while_a_run_is_written(host: Host) -> None:
    job = host.put("%600")
    host.stage.pass_time(599_000)
    host.stage.store.is_held = True
    host.stage.pass_time(2_000)
    host.stage.wall -= 2 * HOUR
    host.stage.pass_time(1_000)
    host.stage.store.is_held = False
    host.stage.pass_time(RETRY_MS + 2_000)
    (run,) = host.runs()
    assert host.the(job).began and host.the(job).due - host.stage.wall <= 600_000
    host.over(run)
    host.stage.pass_time(600_000)
    assert [run[2] for run in host.runs()] == [1, 2]


def test_a_look_leaves_alone_a_job_that_a_write_has_changed_meanwhile(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused run keeps the state, and that may take what the disk has just ended: the run of another job."""
    first, second = host.put("+60"), host.put("+60")
    host.stage.pass_time(59_000)
    refuse, jobs, looked = host.runner._refuse, host.state.jobs, []

    def refuse_and_end_a_write(job: Job, reason: str, moment: Moment) -> None:
        refuse(job, reason, moment)
        jobs[second] = replace(jobs[second], run=7, began=moment.wall, due=0)

    monkeypatch.setattr(host.runner, "_refuse", refuse_and_end_a_write)
    monkeypatch.setattr(host.runner, "_begin", lambda job, moment: looked.append(job.job))
    jobs[first] = replace(jobs[first], began=host.stage.wall)
    host.stage.pass_time(2_000)
    assert looked == [] and jobs[second].run == 7


def test_the_largest_job_that_is_shown_fits_a_packet(host: Host) -> None:
    job = host.the(host.put("* * * * * ~600"))
    large = replace(
        job, call=b"c" * 4096, paused="an operator", outcome="o" * 40,
        history=tuple(Past(1 << 60, 1 << 60, "o" * 40) for _ in range(PAST_MAX)),
    )  # fmt: skip
    TRUST.encode("job_answer", 1, "", [*host.puts.shown(large), large.call, 1 << 60, bytes(SEALED_MAX)])
    AUTHORITY_CHANNEL.encode("answer", 1, 0, 0, host.puts.shown(large))


def test_a_text_that_no_caller_makes_is_refused_in_words(host: Host) -> None:
    for when in ("%29", "%99999999999", "%60 ~61", "30 6 * * * ~86401", "+60 ~0", "%60 ~5 ~5", "~5"):
        code, (sentence,) = host.say(host.fields(when))
        assert code == "invalid_argument" and "cannot" in sentence, when
    for missed in ("+59", "+", "often", "", "+99999999999"):
        code, (sentence,) = host.say(host.fields(missed=missed))
        assert code == "invalid_argument" and "cannot" in sentence, missed
    host.stage.pass_time(20_000)
    for when in ("%30", "%60 ~60", "30 6 * * * ~86400", "+60 ~9"):
        host.put(when)
        assert parse_when_untrusted(when)
