"""Each fault by its name, on one host that is talked to all the time; at the end, nothing is lost or doubled.

The last test stops the host and judges the ledger of all that went before it. Where a fault needs a host of its own
(another disk, another clock), the test has one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chaos.checker import check
from chaos.host import ChaosHost
from chaos.leaks import copies, held
from chaos.ledger import read_ledger
from chaos.plan import LOOPS
from chaos.trap import repetitions
from chaos.walk import TEARS, is_whole, leaked, pause, read_store, recovered, refuse_torn, stopped, tear
from tlsrt import Client, Failed

DETECTED_S = 2.0  # the promise, from the last beat
LOAD_S = 8.0  # how much later a loaded machine may show it
GONE_S = 1.0


class Stage:
    """The shared host, with what it held before anything went wrong."""

    def __init__(self, host: ChaosHost) -> None:
        self.host = host
        recovered(host)
        self.before = held(host)
        host.begin_outside(2)

    def death(self, name: str, restarts: int, timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait until a process has died once more and everything runs again; return its last death."""
        document = self.host.until(
            lambda status: entry(status, name)["restarts"] > restarts and is_whole(status),
            f"that {name} died and all runs again", timeout_s=timeout_s,
        )  # fmt: skip
        death: dict[str, Any] = entry(document, name)["last_death"]
        return death

    def restarts(self, name: str) -> int:
        return int(entry(self.host.status(), name)["restarts"])

    def said(self, loop: str) -> list[str]:
        """Return what the faulty component of a loop has written down."""
        return (self.host.ledger / loop / f"faulty-{loop}.jsonl").read_text().splitlines()


def entry(status: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a status says about a loop or the authority."""
    found: dict[str, Any] = (
        status["authority"] if name == "authority" else next(loop for loop in status["loops"] if loop["name"] == name)
    )
    return found


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    failed = request.session.testsfailed
    with ChaosHost(together=2) as host:
        stage = Stage(host)
        yield stage
        if request.session.testsfailed > failed:
            host.print_logs()
        host.end_outside()


@pytest.mark.parametrize("name", [*LOOPS, "authority"])
def test_a_kill(stage: Stage, name: str) -> None:
    before = stage.restarts(name)
    stage.host.kill(name)
    assert stage.death(name, before)["cause"] == "signal"


@pytest.mark.parametrize("name", ["secondary", "primary", "authority"])
def test_a_stopped_process_is_detected(stage: Stage, name: str) -> None:
    before = stage.restarts(name)
    stage.host.kill(name, signal.SIGSTOP)
    began = time.monotonic()
    assert stage.death(name, before)["cause"] == "heartbeat"
    assert time.monotonic() - began < DETECTED_S + LOAD_S


def test_a_short_pause_is_no_death(stage: Stage) -> None:
    before = stage.restarts("forth")
    pid = stage.host.kill("forth", signal.SIGSTOP)
    pause(0.3)
    os.kill(pid, signal.SIGCONT)
    pause(1.0)
    assert stage.restarts("forth") == before


@pytest.mark.parametrize(
    ("fault", "words"),
    [("segv", "SIGSEGV"), ("exit0", "code 0"), ("exit1", "code 1"), ("block", "heartbeat"), ("spin", "heartbeat")],
)  # fmt: skip
def test_a_loop_that_breaks_itself(stage: Stage, fault: str, words: str) -> None:
    before = stage.restarts("secondary")
    stage.host.tell("secondary", fault)
    assert words in str(stage.death("secondary", before))


@pytest.mark.parametrize("fault", ["leak", "memory"])
def test_what_a_loop_takes_ends_at_its_limit_and_is_gone_afterwards(stage: Stage, fault: str) -> None:
    before, lines = held(stage.host), len(stage.said("forth"))
    stage.host.tell("forth", fault)
    stage.host.until(lambda _: len(stage.said("forth")) > lines + 1, "that it took all it can get", timeout_s=20)
    recovered(stage.host)
    assert leaked(stage.host, before, timeout_s=20) == []


def test_a_full_disk(stage: Stage) -> None:
    """A change that cannot be kept is refused, what was kept is there, and afterwards all goes on."""
    if stage.host.cradle is None:
        return  # without root nobody can give it a disk of its own
    with Client(stage.host.admin) as client:
        client.call("secondary/store", "put", "before", "kept")
        stage.host.cradle.fill()
        with pytest.raises(Failed, match="nothing was changed"):
            put_much(client)
        assert client.call("secondary/store", "get", "before") == "kept"
        stage.host.cradle.free()
        client.call("secondary/store", "put", "during", "kept")
        assert client.call("secondary/store", "get", "during") == "kept"


def put_much(client: Client) -> None:
    """More than what the store's files may have room for already."""
    for _ in range(100):
        client.call("secondary/store", "put", "during", "x" * 200_000)


def test_an_authority_that_dies_while_the_disk_is_full_comes_back_when_it_is_not(stage: Stage) -> None:
    """It cannot write down its next epoch, so it does not serve; but the host does not end because of that."""
    cradle, before = stage.host.cradle, stage.restarts("authority")
    if cradle is None:
        return

    def refused(status: dict[str, Any]) -> bool:
        cradle.fill()  # again: the store replaces its files, and each that goes leaves room for a state
        authority = entry(status, "authority")
        if authority["state"] == "active":  # its own unfinished file, which a boot removes first, left room for a state
            with suppress(KeyError, ProcessLookupError):  # it may have died meanwhile
                stage.host.kill("authority")
        return authority["restarts"] > before + 2 and "No space left" in (authority["last_death"] or {})["sentence"]

    try:
        cradle.fill()
        stage.host.kill("authority")
        stage.host.until(refused, "more than one try")
    finally:
        cradle.free()
    recovered(stage.host)


@pytest.mark.parametrize("days", [30, -30])
def test_the_wall_clock_steps(stage: Stage, days: int) -> None:
    """Nothing in there goes by it but certificates: a month ahead they are good, and then it steps back."""
    stage.host.clock.step_wall(days * 86_400_000)
    with Client(stage.host.admin) as client:
        assert client.call("secondary/store", "put", f"days {days}", days)["revision"] > 0
    recovered(stage.host)


@pytest.mark.parametrize("seconds", [5, 90, 3600])
def test_a_suspended_machine(stage: Stage, seconds: int) -> None:
    """CLOCK_BOOTTIME jumps ahead: calls, tokens and sessions expire at once, and everybody comes back."""
    stage.host.clock.suspend(seconds * 1000)
    answers(stage.host)
    recovered(stage.host)


def answers(host: ChaosHost, timeout_s: float = 20.0) -> None:
    """Wait until components and clients get answers again."""
    files = [*host.ledger.rglob("caller-*.jsonl"), *host.ledger.rglob("outside-*.jsonl")]
    sizes = {path: path.stat().st_size for path in files}

    def answered(path: Path) -> bool:
        with path.open("rb") as file:
            file.seek(sizes[path])
            return any(b'"ok"' in line and b'"end"' in line for line in file)

    host.until(lambda _: all(map(answered, files)), "that everybody is answered again", timeout_s=timeout_s)


def test_a_connection_that_breaks(stage: Stage) -> None:
    stage.host.drop_client()
    answers(stage.host)


def test_a_half_written_state_is_refused_with_one_sentence_and_the_whole_one_is_taken(stage: Stage) -> None:
    stage.host.kill_supervisor()
    for kind, (_, _, goes_on) in sorted(TEARS.items()):
        if not goes_on:
            assert "is damaged" in refuse_torn(stage.host, kind, 0.4)
    stage.host.start()
    recovered(stage.host)


def test_what_a_crash_leaves_beside_a_whole_state_does_not_matter(stage: Stage) -> None:
    stage.host.kill_supervisor()
    for kind, (_, _, goes_on) in sorted(TEARS.items()):
        if goes_on:
            tear(stage.host, kind, 0.4)
    stage.host.start()
    recovered(stage.host)


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.stress)])
@pytest.mark.timeout(900)
def test_many_restarts_of_loops(stage: Stage, count: int) -> None:
    for number in range(count):
        stage.host.respawn(LOOPS[number % len(LOOPS)])
    recovered(stage.host)
    assert copies(stage.host) == []


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.stress)])
@pytest.mark.timeout(900)
def test_the_supervisor_is_killed_again_and_again(stage: Stage, count: int) -> None:
    """All is gone at once, and the next start makes exactly one copy."""
    took: list[float] = []
    for _ in range(count):
        took.append(stage.host.kill_supervisor())
        stage.host.start()
        recovered(stage.host)
        assert copies(stage.host) == []
    assert sorted(took)[len(took) // 2] < GONE_S and max(took) < 5 * GONE_S, took
    answers(stage.host)


def test_nothing_was_lost_doubled_or_left_over(stage: Stage) -> None:
    host = stage.host
    errors = host.end_outside()
    assert not errors
    recovered(host)
    host.quiet()
    assert copies(host) == []
    assert leaked(host, stage.before) == []
    read_store(host)
    assert stopped(host) == []
    ledger = read_ledger(host.ledger)
    assert len(list(ledger.calls)) > 100
    assert check(ledger) == []
    sealed, again = repetitions(sorted(host.ledger.glob("*.trap")))
    assert sealed > 1000 and again == []


def test_a_planted_repetition_of_a_nonce_is_found_in_one_life_and_over_a_restart() -> None:
    with ChaosHost(callers=()) as host:
        for _ in range(2):
            for loop in ("third", "forth"):
                path = host.ledger / loop / f"faulty-{loop}.jsonl"
                count = path.read_text().count("broken")
                host.tell(loop, "repeat_nonce")
                host.until(lambda _: path.read_text().count("broken") > count, "that it sealed")  # noqa: B023
            host.restart()
        assert stopped(host) == []
        traps = sorted(host.ledger.glob("*.trap"))
        assert [len(repetitions(traps[:count])[1]) for count in (1, 2)] == [1, 3]


def test_a_host_in_another_time_is_one_to_clients_as_any() -> None:
    """A host whose CLOCK_BOOTTIME and CLOCK_MONOTONIC are weeks ahead of its clients', and then, rebooted, are not."""
    if os.geteuid() != 0:
        return  # only root may make a time namespace here
    with ChaosHost(boottime_s=30 * 86_400, together=1) as host:
        host.begin_outside(2)
        answers(host)
        assert host.cradle is not None
        host.stop()
        host._witness = host.cradle.command[:-1]  # the same disk, and the machine's own time: weeks earlier
        host.start()
        answers(host)
        assert not host.end_outside()
        assert stopped(host) == []
        assert [finding for finding in check(read_ledger(host.ledger)) if "its deadline" not in finding] == []
