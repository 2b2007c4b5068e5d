"""Jobs over time: hosts that are locked or restart, targets that are away, and clocks that are moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.authority_service import THIRD, FakeAuthorityService
from hosts.job_authority import Host

from tlsrt.supervisor.authority.jobs.runs import AWAY_MAX_MS, AWAY_MS, RUN_MS
from tlsrt.supervisor.authority.jobs.schedule import at_start
from tlsrt.supervisor.authority.model.state import decode_state, encode_state

HOUR = 3_600_000


@pytest.fixture
def host(tmp_path: Path, store: int) -> Host:
    return Host(tmp_path, store)


def test_a_locked_host_runs_none_and_makes_up_for_it_once_or_not(host: Host) -> None:
    once, skip = host.put("*/10 * * * *"), host.put("*/10 * * * *", missed="skip")
    host.stage.lock.engage("a test", "a detector", host.stage.moment)
    host.stage.pass_time(2 * HOUR)
    assert host.runs() == []
    host.stage.ask("unlock", 1, "operator")
    assert host.state.lock is None
    host.stage.ask("spawned", "secondary", 3)
    host.stage.join(("secondary", 3))
    host.stage.pass_time(10_000)
    assert [run[1] for run in host.runs()] == [once]
    assert host.the(skip).outcome == "missed"


def test_a_target_that_is_away_is_waited_for(host: Host) -> None:
    job = host.put("+60")
    host.stage.ask("gone", "secondary", 2)
    host.stage.pass_time(HOUR)
    assert host.runs() == []
    host.stage.ask("spawned", "secondary", 3)
    host.stage.join(("secondary", 3))
    host.stage.pass_time(1_000)
    (run,) = host.runs()
    host.over(run, "away")  # it has its keys and has not started
    assert host.the(job).outcome == "away"
    host.stage.pass_time(AWAY_MS + 1_000)
    assert [run[2] for run in host.runs()] == [1, 2]


def test_a_target_that_says_for_long_that_it_is_away_is_asked_ever_less(host: Host) -> None:
    job = host.put("+60", missed="skip")
    tries = looked = 0
    for _ in range(3600):
        host.stage.pass_time(1_000)
        said, looked = host.stage.said[looked:], len(host.stage.said)  # what is new: all of it grows with each second
        if runs := [fields for loop, name, fields in said if (loop, name) == ("secondary", "job_run")]:
            tries += len(runs)
            host.over(runs[-1], "away")
    assert 3_600_000 / AWAY_MAX_MS <= tries <= 3_600_000 / AWAY_MAX_MS + 6
    host.stage.pass_time(AWAY_MAX_MS + 1_000)
    host.over(host.runs()[-1])
    assert host.the(job).outcome == "done"
    assert host.runner._pauses == {} and host.runner._not_before == {}


def test_a_target_that_restarts_in_the_middle_is_not_told_again(host: Host) -> None:
    job = host.put("+60")
    host.stage.pass_time(61_000)
    host.stage.ask("gone", "secondary", 2)
    host.stage.ask("spawned", "secondary", 3)
    host.stage.join(("secondary", 3))
    host.stage.pass_time(HOUR)
    assert len(host.runs()) == 1
    assert host.the(job).outcome == "unknown"


def test_a_run_whose_end_is_never_told_is_unknown(host: Host) -> None:
    job = host.put("*/5 * * * *")
    host.stage.pass_time(300_000)
    first = host.runs()[0]
    host.stage.pass_time(RUN_MS + 1_000)
    assert host.reasons() == ["overlap"]
    host.over(first)  # too late, and so it counts no more
    assert host.the(job).outcome in ("unknown", "running")


def test_another_authority_says_a_run_again_to_the_process_that_was_there(
    host: Host, tmp_path: Path, store: int
) -> None:
    job = host.put("+60")
    host.stage.pass_time(61_000)
    kept = decode_state(encode_state(host.state))
    (tmp_path / "next").mkdir()
    next_one = Host(tmp_path / "next", store, resumed=True, state=kept, now=host.stage.now)
    runs = next_one.runs()
    assert [(run[1], run[2]) for run in runs] == [(job, 1)]
    next_one.over(runs[0])
    assert next_one.the(job).outcome == "done"


def test_another_authority_of_a_locked_host_says_nothing_again(host: Host, tmp_path: Path, store: int) -> None:
    host.put("+60")
    host.stage.pass_time(61_000)
    host.stage.lock.engage("a test", "a detector", host.stage.moment)
    kept = decode_state(encode_state(host.state))
    (tmp_path / "next").mkdir()
    stage = FakeAuthorityService(tmp_path / "next", store, resumed=True, state=kept, now=host.stage.now)
    stage.join(("secondary", 2), THIRD)
    stage.pass_time(2_000)
    assert stage.of("secondary", "job_run") == []


def test_another_boot_runs_nothing_again(host: Host, tmp_path: Path, store: int) -> None:
    job = host.put("+60")
    host.stage.pass_time(61_000)
    kept = decode_state(encode_state(host.state))
    (tmp_path / "next").mkdir()
    next_one = Host(tmp_path / "next", store, state=kept, now=host.stage.now)
    next_one.stage.pass_time(HOUR)
    assert next_one.runs() == []
    assert next_one.the(job).outcome == "unknown"


def test_a_delay_goes_along_with_a_jump_of_the_clock_and_a_time_of_day_does_not_run_twice(host: Host) -> None:
    delay, daily = host.put("+600"), host.put("*/30 * * * *")
    host.stage.pass_time(1_000)
    due = host.the(daily).due
    host.stage.wall += HOUR
    host.stage.pass_time(2_000)
    assert [run[1] for run in host.runs()] == [daily]  # passed over, and run once
    host.over(host.runs()[0])
    host.stage.wall -= HOUR
    host.stage.pass_time(550_000)
    assert len(host.runs()) == 1 and host.the(daily).due > due
    host.stage.pass_time(60_000)
    assert [run[1] for run in host.runs()][1:] == [delay]


def test_what_runs_and_what_is_over_go_along_with_a_jump_of_the_clock(host: Host) -> None:
    over, running = host.put("+60"), host.put("+70")
    host.stage.pass_time(61_000)
    host.over(host.runs()[0])
    host.stage.pass_time(10_000)
    for jump in (30 * HOUR, -60 * HOUR):
        last, began = host.the(over).last, host.the(running).began
        host.stage.wall += jump
        host.stage.pass_time(1_000)
        assert host.the(over).last == last + jump
        assert (host.the(running).began, host.the(running).outcome) == (began + jump, "running")
        kept = host.the(over)
        assert at_start(kept, host.stage.wall, host.runner._offset) == kept  # it has gone along already


def test_times_that_cannot_be_are_refused_in_words(host: Host) -> None:
    for when in ("@1", "+0", "61 * * * *", "0 0 30 2 *", f"@{host.stage.wall // 1000 + 400 * 86_400}", "soon"):
        code, (sentence,) = host.say(host.fields(when))
        assert code == "invalid_argument" and "cannot" in sentence
