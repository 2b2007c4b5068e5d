"""Jobs on a running host: they run once, in the name of who put them, whatever is killed meanwhile."""

from __future__ import annotations

import http.client
import json
import random
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import CallError, Denied, InvalidArgument, NotFound
from tlsrt.channels.client.connection import client_context

PACKAGE = Path(__file__).parent.parent / "hosts" / "job_package" / "putting"
KETTLE, COOK, CAPTURED = "third/kettle", "secondary/cook", "third/captured"
WITHIN_S = 15.0


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], clients=["guest", "web"], http=["web"], extra={"door": {"http_jobs": True}},
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
    for words in (("--at", "0 19 * *"), ("--in", "soon"), ("--every", "1m", "--jitter", "2m", "--missed", "often")):
        refused = tlsrt(host, "call", KETTLE, "boil", "x", *words)
        assert refused.returncode == 64 and refused.stdout == "", refused.stderr
    assert "no such" in host.cli("jobs", "remove", once).stderr or host.cli("jobs", "remove", once).returncode


def test_a_job_that_comes_again_is_shown_paused_and_resumed_by_its_owner_and_an_operator(host: RunningHost) -> None:
    words = ("--every", "10m", "--jitter", "30s", "--missed", "1h")
    job = tlsrt(host, "call", KETTLE, "boil", "tea", "hold_s=0.5", *words).stdout.strip()
    shown = tlsrt(host, "jobs", "show", job[:8]).stdout
    for text in (f"{KETTLE} boil tea hold_s=0.5", "every 10m ~30s", "once, if at most 1h late"):
        assert text in shown, shown
    document = host.client().show_job(job)
    assert [later - sooner for sooner, later in pairwise(document["upcoming"])] == [600_000] * 4
    assert tlsrt(host, "jobs", "pause", job[:6]).stdout == f"paused {job}\n"
    assert host.client().show_job(job)["paused_by"] == "its owner"
    assert host.cli("jobs", "pause", job).stdout == f"paused {job}: boil of {KETTLE}, put by client/admin\n"
    with pytest.raises(Denied, match="an operator"):
        host.client().resume_job(job)
    assert "every 10m ~30s" in host.cli("jobs", "show", job).stdout
    assert host.cli("jobs", "resume", job).stdout.startswith(f"resumed {job}")
    assert host.client().show_job(job)["paused_by"] == ""
    host.told("job_paused", "job_resumed", by=("audit", "tail", "-n", "200"))
    host.client().remove_job(job)


def test_a_kept_result_is_read_by_its_client_and_nowhere_else(host: RunningHost) -> None:
    client, words = host.client("guest"), f"secret {secrets.token_hex(8)}"
    job = client.put_off("1s", KETTLE, "boil", words, keep_result=True)
    plain = client.put_off("1s", KETTLE, "boil", "plain")
    until(lambda: outcomes(host, "guest").get(job) == outcomes(host, "guest").get(plain) == "done", "both runs")
    shown = client.show_job(job)
    assert (shown["result"], shown["result_run"]) == (words, 1)
    assert "result_run" not in client.show_job(plain)
    with pytest.raises(NotFound):
        host.client().show_job(job)
    assert words not in host.cli("jobs", "show", job, "--json").stdout
    state = (host.config.state_dir / "authority" / "authority.state").read_bytes()
    assert bytes.fromhex(job) in state and words.encode() not in state


def test_an_http_client_puts_lists_shows_pauses_and_removes_jobs(host: RunningHost) -> None:
    context = client_context(host.bundle("web"))
    context.set_alpn_protocols(["http/1.1"])
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=20)

    def ask(method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
        given = {"Content-Type": "application/json"} if method == "POST" else {}
        connection.request(method, path, body, {**given, **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    boil = f"/v1/call/{KETTLE}/boil"
    with closing(connection):
        status, put = ask("POST", f"{boil}?in=1s", '{"name": "http"}')
        assert status == 202
        until(lambda: ask("GET", f"/v1/jobs/{put['job']}")[1]["outcome"] == "done", "done")
        shown = ask("GET", f"/v1/jobs/{put['job']}")[1]
        assert [end["outcome"] for end in shown["history"]] == ["done"] and boiled(host)["client/web http"] == 1
        again = f"{boil}?every=10m&jitter=1m"
        keys = [ask("POST", again, '["tea"]', **{"Idempotency-Key": "k"}) for _ in range(2)]
        assert keys[0] == keys[1] and keys[0][0] == 202
        job = keys[0][1]["job"]
        assert ask("POST", again, '["soup"]', **{"Idempotency-Key": "k"})[0] == 409
        assert ask("POST", f"/v1/jobs/{job}/pause", "{}") == (200, {"paused": job})
        listed = {one["id"]: one for one in ask("GET", "/v1/jobs")[1]["jobs"]}
        assert (listed[job]["when"], listed[job]["outcome"]) == ("%600 ~60", "paused")
        assert ask("POST", f"/v1/jobs/{job}/resume", "{}") == (200, {"resumed": job})
        assert ask("DELETE", f"/v1/jobs/{job}") == (200, {"removed": job})
        assert ask("GET", f"/v1/jobs/{job}")[0] == 404
        for query in ("every=1s", "at=soon", "in=10m&missed=often"):
            assert ask("POST", f"{boil}?{query}", '["tea"]')[0] == 400
        status, problem = ask("POST", f"/v1/call/{KETTLE}/drip?in=1s", "[]")
        assert status == 400 and "it is a stream" in problem["detail"]


def test_what_was_acknowledged_is_there_whenever_the_authority_or_the_host_is_killed(host: RunningHost) -> None:
    """Jobs are put and paused while the authority is killed at random points, and then the whole host."""
    seed = secrets.randbits(32)
    print("seed", seed)
    chance, client, put = random.Random(seed), host.client(), set[str]()
    for _ in range(3):
        until(lambda: put <= outcomes(host).keys(), "an authority that answers")
        timer = threading.Timer(chance.random() * 0.15, host.kill, ("authority",))
        timer.start()
        for number in range(5):
            with suppress(CallError):
                put.add(client.put_off("every 2h" if number % 2 else "2h", KETTLE, "boil", "later"))
        timer.join()
    with suppress(CallError):
        assert client.pause_job(max(put)) == max(put)
    paused = max(put) if outcomes(host).get(max(put)) == "paused" else ""
    until(lambda: put <= outcomes(host).keys(), "all that was acknowledged")
    assert host.process is not None
    host.process.kill()
    host.restart()
    until(lambda: put <= outcomes(host).keys(), "all that was acknowledged, in the next life of the host")
    assert not paused or outcomes(host)[paused] == "paused"
    assert boiled(host)["client/admin later"] == 0


def test_what_cannot_be_put_off_is_refused_at_once(host: RunningHost) -> None:
    client = host.client("guest")
    with pytest.raises(InvalidArgument, match="hold_s"):
        client.put_off("1s", KETTLE, "boil", "tea", hold_s="long")
    with pytest.raises(NotFound):
        client.put_off("1s", KETTLE, "freeze")
    with pytest.raises(InvalidArgument, match="it is a stream"):
        client.put_off("1s", KETTLE, "drip")
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
