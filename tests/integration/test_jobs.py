"""Jobs on a running host: they run once, in the name of who put them, whatever is killed meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import CallError, InvalidArgument, NotFound

PACKAGE = Path(__file__).parent.parent / "hosts" / "job_package" / "putting"
KETTLE, COOK, CAPTURED = "third/kettle", "secondary/cook", "third/captured"
WITHIN_S = 15.0


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], clients=["guest"],
        components={
            KETTLE: {"class": "putting:Kettle"}, COOK: {"class": "putting:Cook"},
            CAPTURED: {"class": "putting:Captured"},
        },
        policy={
            "client/admin -> primary/events": ["recent"],
            **{f"client/* -> {address}": "*" for address in (KETTLE, COOK, CAPTURED)}, f"{COOK} -> {KETTLE}": ["boil"],
        },
    )  # fmt: skip


def until(true: Callable[[], bool], what: str) -> None:
    """Ask until it is so; what is asked for changes by itself."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        with suppress(CallError):
            if true():
                return
        time.sleep(0.05)
    raise AssertionError(f"{what} has not come in {WITHIN_S:g} s")


def boiled(host: RunningHost) -> Counter[str]:
    return Counter(host.client().call(KETTLE, "boiled"))


def outcomes(host: RunningHost, name: str = "admin") -> dict[str, str]:
    return {entry["id"]: entry["outcome"] for entry in host.client(name).jobs() if "id" in entry}


def told(host: RunningHost, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in host.cli("events", "--json").stdout.splitlines()]
    return [row for row in rows if row["name"] == name]


def test_a_job_runs_once_in_the_name_of_its_owner_and_everything_of_it_is_seen(host: RunningHost) -> None:
    client = host.client("guest")
    job = client.put_off("1s", KETTLE, "boil", "tea", hold_s=0.1)
    daily = client.put_off("30 6 * * *", KETTLE, "boil", "morning", missed="skip")
    planned = host.client().call(COOK, "plan", "1s", "soup")
    assert planned[0]["target"] == KETTLE and planned[0]["outcome"] == ""
    until(lambda: outcomes(host, "guest").get(job) == "done", "done")
    until(lambda: boiled(host)[f"{COOK} soup"] == 1, "the component's job")
    assert boiled(host)["client/guest tea"] == 1
    assert boiled(host)["client/guest morning"] == 0
    until(lambda: {"client/guest", COOK} <= {row["subject"] for row in told(host, "job_run")}, "the events")
    host.told("job_put", "job_run", job, by=("audit", "tail", "-n", "200"))
    listed = host.cli("jobs", "list").stdout
    assert daily[:8] in listed and "30 6 * * *" in listed and "client/guest" in listed
    assert client.remove_job(daily[:6]) == daily
    with pytest.raises(NotFound):
        client.remove_job(daily)
    assert daily not in outcomes(host, "guest")


def tlsrt(host: RunningHost, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "tlsrt.channels.cli.main", *words, "--bundle", str(host.folder / "admin.tlsrt"))
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_the_commands_put_list_and_remove(host: RunningHost) -> None:
    job = tlsrt(host, "call", KETTLE, "boil", "dinner", "hold_s=0", "--at", "0 19 * * *").stdout.strip()
    once = tlsrt(host, "call", KETTLE, "boil", "toast", "--in", "2h", "--missed", "skip").stdout.strip()
    lines = tlsrt(host, "jobs").stdout
    assert job[:8] in lines and "0 19 * * *" in lines and once[:8] in lines
    assert "did not answer" not in lines
    listed = {row["id"]: row for row in json.loads(tlsrt(host, "jobs", "list", "--json").stdout)["jobs"]}
    assert listed[once]["missed"] == "skip" and listed[job]["runs"] == 0
    assert tlsrt(host, "jobs", "remove", job[:8]).stdout == f"removed {job}\n"
    assert host.cli("jobs", "remove", once).stdout == f"removed {once}: boil of {KETTLE}, put by client/admin\n"
    assert not {job, once} & {entry.get("id") for entry in host.client().jobs()}
    for words in (("--at", "0 19 * *"), ("--in", "soon"), ("--in", "1s", "--at", "0 19 * * *")):
        refused = tlsrt(host, "call", KETTLE, "boil", "x", *words)
        assert refused.returncode == 64 and refused.stdout == "", refused.stderr
    assert "no such" in host.cli("jobs", "remove", once).stderr or host.cli("jobs", "remove", once).returncode


def test_what_cannot_be_put_off_is_refused_at_once(host: RunningHost) -> None:
    client = host.client("guest")
    with pytest.raises(InvalidArgument, match="hold_s"):
        client.put_off("1s", KETTLE, "boil", "tea", hold_s="long")
    with pytest.raises(NotFound):
        client.put_off("1s", KETTLE, "freeze")
    with pytest.raises(InvalidArgument, match="time zone"):
        client.put_off("2999-01-01T00:00:00", KETTLE, "boil", "tea")
    with pytest.raises(InvalidArgument, match="days"):
        client.put_off("2999-01-01T00:00:00+00:00", KETTLE, "boil", "tea")
    with pytest.raises(InvalidArgument, match="at most 4096"):
        client.put_off("1s", KETTLE, "boil", "t" * 5000)


def test_a_captured_target_makes_up_no_job_and_reaches_nobody(host: RunningHost) -> None:
    guest = host.client("guest")
    guest.call(CAPTURED, "touch")
    answer = guest.call(CAPTURED, "forge", "client/guest", "touch")
    assert answer[0] == "Stale" and "proof" in answer[1]
    until(lambda: any("without a proof" in json.dumps(row) for row in told(host, "job_refused")), "the event")
    assert outcomes(host, "guest").keys() == {key for key, value in outcomes(host, "guest").items() if value}
    with suppress(CallError):
        guest.call(CAPTURED, "reach", "client/guest", KETTLE)
    until(lambda: any("not_its_component" in json.dumps(row) for row in told(host, "offence")), "the offence")
    assert not [line for line in boiled(host) if line.endswith("None")]


def test_a_target_that_dies_in_the_middle_has_run_once_and_its_outcome_is_unknown(host: RunningHost) -> None:
    client = host.client()
    job = client.put_off("1s", KETTLE, "boil", "bang", hold_s=100.0)
    until(lambda: boiled(host)["client/admin bang"] == 1, "the run")
    host.kill("third.kettle")
    until(lambda: outcomes(host).get(job) == "unknown", "unknown")
    assert boiled(host)["client/admin bang"] == 1


def test_an_authority_that_is_killed_around_the_due_time_loses_no_job_and_runs_none_twice(host: RunningHost) -> None:
    names = [f"cup{number}" for number in range(12)]
    client = host.client()
    jobs = {client.put_off(f"{1 + number % 2}s", KETTLE, "boil", name): name for number, name in enumerate(names)}
    until(lambda: any(outcomes(host).get(job) for job in jobs), "the first run")
    host.kill("authority")
    until(lambda: all(outcomes(host).get(job) in ("done", "unknown") for job in jobs), "the end of all")
    found, ends = boiled(host), outcomes(host)
    for job, name in jobs.items():
        assert found[f"client/admin {name}"] <= 1
        assert found[f"client/admin {name}"] == 1 or ends[job] == "unknown"


def test_the_job_of_a_revoked_client_does_not_run(host: RunningHost) -> None:
    host.client("guest").put_off("1s", KETTLE, "boil", "poison")
    assert host.cli("revoke", "client", "guest").returncode == 0
    until(lambda: any("revoked" in json.dumps(row) for row in told(host, "job_refused")), "refused")
    assert boiled(host)["client/guest poison"] == 0
    assert host.cli("restore", "client", "guest").returncode == 0
