"""Supervision over real processes: who is restarted with whom, in which order, how often; and the operator's word."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.scripted_host import ScriptedHost, Start, pids_of, starting, wait_until_gone, word_of

LOOPS = {"secondary": "crash_if", "third": "crash_if", "forth": "crash_if", "fifth": "crash_if"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starting(tmp_path)


def supervised(start: Start, *, loops: dict[str, str] | None = None, **supervision: Any) -> ScriptedHost:
    running = start(**{**LOOPS, **(loops or {})}, supervision=json.dumps(supervision))
    running.wait("^ready")
    return running


def group(*loops: str, **settings: Any) -> dict[str, Any]:
    return {"ui": {"loops": loops, **settings}}


def lives_of(running: ScriptedHost) -> dict[str, int]:
    return {loop["name"]: loop["incarnation"] for loop in running.status()["loops"]}


def said(running: ScriptedHost, word: str) -> list[str]:
    """Return the loops of which the authority heard this, in order; from the first restart on."""
    return [line.split()[1] for line in running.log("authority") if line.startswith(f"{word} ")]


def kill(running: ScriptedHost, name: str) -> None:
    os.kill(pids_of(running.status())[name], signal.SIGKILL)


def settle(running: ScriptedHost, *, active: list[str], after: int) -> None:
    """Wait until each of these has become active again, in lines from `after` on."""
    for name in active:
        running.wait(
            f"^{name} +active", 1 + sum(bool(re.match(f"{name} +active", line)) for line in running.lines[:after])
        )


@pytest.mark.parametrize(
    ("strategy", "dead", "ended", "started"),
    [
        ("one_for_one", "forth", ["forth"], ["forth"]),
        ("rest_for_one", "forth", ["forth", "fifth"], ["forth", "fifth"]),
        ("one_for_all", "forth", ["forth", "fifth", "third"], ["third", "forth", "fifth"]),
    ],
)
def test_exactly_those_are_restarted_that_the_strategy_names_in_its_order(
    start: Start, strategy: str, dead: str, ended: list[str], started: list[str]
) -> None:
    running = supervised(start, groups=group("third", "forth", "fifth", strategy=strategy))
    before, lines = lives_of(running), len(running.lines)
    kill(running, dead)
    settle(running, active=started, after=lines)
    after = lives_of(running)
    assert {name for name in before if after[name] != before[name]} == {*started}
    limit = time.monotonic() + 10
    while (said(running, "gone"), said(running, "spawned")) != (ended, started):  # its log may come a moment later
        assert time.monotonic() < limit, (said(running, "gone"), said(running, "spawned"))
        time.sleep(0.02)
    assert word_of(running.lines[lines:], "active") == started
    assert word_of(running.lines[lines:], "died") == [dead], "the others have ended in order"
    for name in set(started) - {dead}:
        assert running.loop(name)["last_death"]["cause"] == "group"
        assert f"ended, since {dead} of its group has ended" == running.loop(name)["last_death"]["sentence"]
        assert [line.split()[0] for line in running.log(name) if line.startswith(("drain", "stop"))] == [
            "drain",
            "stop",
        ]
    assert running.loop(dead)["last_death"]["cause"] == "signal"
    assert {group["state"] for group in running.status()["supervision"]["groups"]} == {"healthy"}
    assert running.stop() == 0


def test_a_companion_that_ignores_everything_is_killed_and_then_all_start(start: Start) -> None:
    running = supervised(start, loops={"forth": "stubborn"}, groups=group("third", "forth", strategy="one_for_all"))
    lines, began = len(running.lines), time.monotonic()
    pid = pids_of(running.status())["forth"]
    kill(running, "third")
    settle(running, active=["third", "forth"], after=lines)
    assert time.monotonic() - began > 0.75, "stop_timeout_s is 0.8"
    wait_until_gone([pid])
    assert running.loop("forth")["last_death"]["signal"] == "SIGKILL"
    assert (said(running, "gone"), said(running, "spawned")) == (["third", "forth"], ["third", "forth"])
    assert running.stop() == 0


def test_a_companion_that_dies_of_itself_meanwhile_is_no_second_death(start: Start) -> None:
    running = supervised(start, groups=group("third", "forth", strategy="one_for_all", restart={"deaths": 2}))
    lines, status = len(running.lines), running.status()
    supervisor, pids = status["supervisor"]["pid"], pids_of(status)
    os.kill(supervisor, signal.SIGSTOP)  # or it may see the first death, and end the other one, before we do
    for name in ("third", "forth"):
        os.kill(pids[name], signal.SIGKILL)
    os.kill(supervisor, signal.SIGCONT)
    settle(running, active=["third", "forth"], after=lines)
    assert not running.status()["supervision"]["degraded"]
    assert running.stop() == 0


# Too often


def test_a_group_that_dies_too_often_stays_down_until_the_operator_restarts_it(start: Start) -> None:
    running = supervised(
        start,
        groups=group("third", "forth", strategy="rest_for_one", restart={"deaths": 3, "window_s": 30}),
        depends={"fifth": ["forth"]},
    )
    crash, before = running.folder / "crash-third", lives_of(running)
    crash.touch()
    kill(running, "third")
    assert running.wait("^third +failed").endswith("exit code 3; given up with forth")
    assert running.wait("^fifth +waiting").endswith("for third, forth, and comes back with them")
    running.wait_for_state("forth", "failed")
    status = running.status()
    states = {loop["name"]: loop["state"] for loop in status["loops"]}
    assert states == {
        "primary": "active", "secondary": "active", "third": "failed", "forth": "failed", "fifth": "waiting",
    }  # fmt: skip
    supervision = status["supervision"]
    assert supervision["degraded"] and supervision["waiting"] == {"fifth": ["third", "forth"]}
    (ui,) = (entry for entry in supervision["groups"] if entry["name"] == "ui")
    why = "a loop of ui died 3 times in 30 s, the last: third, exit code 3"
    assert (ui["state"], ui["down"], ui["why"]) == ("degraded", ["third", "forth"], why)
    assert (ui["deaths"], ui["limit"]) == (3, {"deaths": 3, "window_s": 30})
    assert lives_of(running)["secondary"] == before["secondary"], "the host goes on"
    table = running.command("status").stdout
    again = "`tlsrt-supervisor restart third` tries again"
    assert f"degraded: third, forth of group ui stays down: {why}; {again}" in table
    assert "fifth waits for third, forth" in table
    assert "last death of fifth: ended, since third is not there, which it depends on" in table
    # It cannot come back yet.
    answer = running.ask("restart", loop="forth")
    assert answer["failed"] and {loop["name"]: loop["state"] for loop in answer["loops"]} == {
        "third": "failed", "forth": "failed",
    }  # fmt: skip
    refused = running.ask("restart", loop="fifth")
    assert refused == {"unavailable": "fifth waits for third, forth and comes back by itself: restart third"}
    # Now it can, and whoever depends on it comes back by itself.
    crash.unlink()
    running.wait("^third +failed", 2)
    lines = len(running.lines)
    answer = running.ask("restart", loop="third")
    assert [(loop["name"], loop["state"]) for loop in answer["loops"]] == [("third", "active"), ("forth", "active")]
    settle(running, active=["fifth"], after=lines)
    assert word_of(running.lines[lines:], "active") == ["third", "forth", "fifth"]
    assert not running.status()["supervision"]["degraded"]
    assert running.stop() == 0


def test_escalate_exit_stops_the_host_in_order_with_code_69(start: Start) -> None:
    running = supervised(start, groups=group("third", "forth", restart={"deaths": 2, "escalate": "exit"}))
    (running.folder / "crash-forth").touch()
    kill(running, "forth")
    line = running.wait("^ui +failed")
    assert line.endswith("died 2 times in 60 s, the last: forth, exit code 3; the host stops with exit code 69, as "
                         "escalate: exit says")  # fmt: skip
    assert running.end()[0] == 69
    assert word_of(running.lines, "stopped") == ["fifth", "third", "secondary", "primary", "authority", "supervisor"]
    assert running.lines[-1].endswith("exit code 69")


def test_without_primary_a_host_does_not_look_as_if_it_ran(start: Start) -> None:
    running = supervised(start, loops={"primary": "crash_if"}, restart={"deaths": 2})
    (running.folder / "crash-primary").touch()
    kill(running, "primary")
    assert running.end()[0] == 69


def test_the_limits_of_one_loop_are_its_own(start: Start) -> None:
    running = supervised(start, restart={"deaths": 3})
    (running.folder / "crash-third").touch()
    kill(running, "third")
    running.wait("^third +failed")
    kill(running, "forth")
    running.wait("^forth +died +signal SIGKILL; again at once")
    running.wait("^forth +active", 2)
    assert running.stop() == 0


# Order


def test_start_stop_and_return_follow_the_dependencies(start: Start) -> None:
    running = supervised(start, depends={"secondary": ["forth"], "third": ["fifth"]})
    order = ["primary", "forth", "secondary", "fifth", "third"]
    assert word_of(running.lines, "active") == order
    kill(running, "forth")
    running.wait("^forth +active", 2)
    assert lives_of(running)["secondary"] == 3, "a dependency that is merely restarted takes nobody along"
    assert running.stop() == 0
    ends = ["third", "fifth", "secondary", "primary", "forth"]  # forth last, as it may delay the machine's own end
    assert word_of(running.lines, "stopped") == [*ends, "authority", "supervisor"]


def test_a_dependent_becomes_active_only_after_what_it_depends_on(start: Start) -> None:
    running = supervised(start, loops={"fifth": "once:inactive", "ready_timeout_s": "1"}, depends={"third": ["fifth"]})
    assert running.wait("^fifth +died").endswith("not active in 1 s; again at once")
    assert word_of(running.lines, "active") == ["primary", "secondary", "forth", "fifth", "third"]
    assert [line for line in running.log("third") if line == "activate"] == ["activate"]
    assert running.stop() == 0


def test_whoever_depends_on_what_cannot_be_imported_waits_from_the_start(start: Start) -> None:
    running = supervised(start, loops={"secondary": "no_import"}, depends={"third": ["secondary"]})
    assert running.wait("^ready").startswith("ready         3 loops")
    assert running.wait("^third +waiting").endswith("for secondary, and comes back with it")
    assert running.stop() == 0


# The operator


def test_the_operator_restarts_a_loop_and_is_told_how_it_went(start: Start) -> None:
    running = supervised(start, groups=group("third", "forth", strategy="rest_for_one"))
    before = lives_of(running)
    done = running.command("restart", "third")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"third  active  pid \d+  in \d+ ms\nforth  active  pid \d+  in \d+ ms\n", done.stdout)
    after = lives_of(running)
    assert {name for name in before if after[name] != before[name]} == {"third", "forth"}
    death = running.loop("third")["last_death"]
    assert (death["cause"], death["sentence"]) == ("restart", "restarted, as the operator asked")
    assert "drain 400" in running.log("third")
    assert running.stop() == 0


def test_a_restart_that_cannot_be_is_one_sentence(start: Start) -> None:
    running = supervised(start, loops={"third": "stubborn"})
    for name, sentence in {
        "thrid": "there is no loop 'thrid', did you mean third?",
        "x": "there is no loop 'x': there are primary, secondary, third, forth, fifth",
        "authority": "the authority cannot be restarted by hand: it comes again by itself, and a reload replaces it",
    }.items():
        done = running.command("restart", name)
        assert (done.returncode, done.stdout, done.stderr) == (64, "", f"tlsrt-supervisor: {sentence}\n")
    assert running.ask("restart") == {"refused": "name a loop"}
    assert running.ask("restart", loop=["third"]) == {"refused": "name a loop"}
    with running.asking("restart", loop="third") as first:
        running.wait("^third +restart")
        assert running.ask("restart", loop="third") == {"unavailable": "third is being restarted already"}
        assert json.loads(first.recv(4096))["loops"][0]["state"] == "active"
    assert running.stop() == 0


def test_whoever_waits_for_a_restart_is_told_that_the_host_stops(start: Start) -> None:
    running = supervised(start, loops={"third": "stubborn"})
    with running.asking("restart", loop="third") as client:
        running.wait("^third +restart")
        assert running.stop() == 0
        assert json.loads(client.recv(4096)) == {"unavailable": "tlsrt is stopping"}
    assert word_of(running.lines, "killed") == [] and "third" in word_of(running.lines, "stopped")
