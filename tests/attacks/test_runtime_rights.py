"""Attacked sentence: a captured component has the runtime do what it is granted, to what is named, and no more."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt.channels.control.life import ARCHIVES_AT_ONCE, RUNTIME_AT_ONCE
from tlsrt.errors import Busy, CallError, Denied, Failed, Unavailable

POLICY, OTHER, AI, TIED, HELD = "forth/policy", "third/other", "secondary/ai", "third/tied", "secondary/held"
ENDER, KEEPER = "forth/ender", "secondary/keeper"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    one = {"class": "captured.helped:Helped"}
    rights = [
        {"may": "pause", "components": [AI, TIED, HELD, POLICY, "secondary/none", "third/io"], "why": "a test"},
        {"may": "list", "components": [AI, "secondary/none", "primary/kernel"], "why": "a test"},
    ]
    yield from running(
        request, packages=[PACKAGE],
        components={POLICY: one | {"needs": {"runtime": rights}, "options": {"lists": True}},
                    OTHER: one, AI: one, TIED: one, HELD: one,
                    KEEPER: one | {"needs": {"runtime": [{"may": "backup", "why": "a test"}]}},
                    ENDER: one | {"needs": {"runtime": [{"may": "shutdown", "why": "a test"}]}}},
        policy={f"client/admin -> {name}": "*" for name in (POLICY, OTHER, AI, TIED, HELD, ENDER, KEEPER)},
    )  # fmt: skip


def records(host: RunningHost) -> list[Any]:
    lines = [json.loads(line) for line in host.cli("audit", "tail", "-n", "500", "--json").stdout.splitlines()]
    return [one for one in lines if "runtime_act" in json.dumps(one)]


def test_a_component_may_list_while_it_starts(host: RunningHost) -> None:
    """Its process was ended for it: what it asks while it is ready is no offence."""
    seen = host.client().call(POLICY, "states_at_start")
    assert set(seen) == {AI, "secondary/none", "primary/kernel"} and seen["secondary/none"] == "absent"
    assert host.loop("forth.policy")["restarts"] == 0


def test_a_pause_keeps_what_is_named_down_and_a_resume_starts_it(host: RunningHost) -> None:
    client, before = host.client(), host.loop("secondary.ai")["pid"]
    assert client.call(POLICY, "have", "pause", AI) == "done"
    assert client.call(POLICY, "states") == {AI: "paused", "secondary/none": "absent", "primary/kernel": "active"}
    with pytest.raises(Unavailable):
        client.call(AI, "states", timeout=3)
    assert '"pause"' in json.dumps(records(host)[-1]) and AI in json.dumps(records(host)[-1])
    assert f"{POLICY}: pause {AI}" in host.told("runtime_act")
    assert client.call(POLICY, "have", "pause", AI) == "done", "it is paused already"
    assert client.call(POLICY, "have", "resume", AI) == "done"
    assert host.loop("secondary.ai")["pid"] not in (before, None) and client.call(POLICY, "states")[AI] == "active"


@pytest.mark.parametrize("target", [POLICY, "secondary/none", "third/io"])
def test_itself_and_what_has_no_process_of_its_own_cannot_be_paused(host: RunningHost, target: str) -> None:
    with pytest.raises(Denied, match="process of its own"):
        host.client().call(POLICY, "have", "pause", target)
    assert host.loop("forth.policy")["state"] == "active" and host.loop("third")["state"] == "active"


def test_what_the_operator_has_stopped_stays_down(host: RunningHost) -> None:
    assert host.cli("stop", "secondary.held").returncode == 0
    for act in ("resume", "pause"):
        with pytest.raises(Denied, match="the operator"):
            host.client().call(POLICY, "have", act, HELD)
    assert host.loop("secondary.held")["state"] == "stopped"
    assert host.cli("start", "secondary.held").returncode == 0


def test_the_operator_starts_what_was_paused(host: RunningHost) -> None:
    host.client().call(POLICY, "have", "pause", TIED)
    assert host.cli("start", "third.tied").returncode == 0
    assert host.loop("third.tied")["state"] == "active"


@pytest.mark.parametrize(("act", "target"), [("pause", "third/other"), ("resume", "primary/kernel"), ("shutdown", "")])
def test_an_honest_component_is_told_what_it_was_not_granted(host: RunningHost, act: str, target: str) -> None:
    with pytest.raises(Failed):
        host.client().call(POLICY, "have", act, target)
    with pytest.raises(Failed):
        host.client().call(OTHER, "have", act, target)


@pytest.mark.parametrize("within_ms", [600_001, 1 << 60])
def test_a_time_that_is_none_ends_the_process_and_not_the_host(host: RunningHost, within_ms: int) -> None:
    restarts = host.loop("forth.ender")["restarts"]
    with suppress(CallError):
        host.client().call(ENDER, "say_runtime", 0, 1, within_ms)
    host.until(lambda document: host.loop("forth.ender")["restarts"] > restarts, "its end")
    assert "time_out_of_range" in host.loop("forth.ender")["last_death"]["sentence"]
    host.until(lambda document: host.loop("forth.ender")["state"] == "active", "the next one")


def test_who_may_not_have_an_archive_of_the_host_gets_none(host: RunningHost) -> None:
    before = len(records(host))
    for name in (POLICY, OTHER):
        with pytest.raises(Failed):
            archived(host, name)
    assert len(records(host)) == before


def test_an_archive_of_the_host_shows_nothing_and_is_recorded(host: RunningHost) -> None:
    host.client().call("secondary/store", "put", "known", "a value that would be seen")
    found = archived(host)
    assert found.startswith(b"tlsrt sealed host backup 1\n")
    for word in (b"a value that would be seen", b"secondary/store", b"install_id", b"SQLite format 3"):
        assert word not in found
    assert '"backup"' in json.dumps(records(host)[-1]) and KEEPER in json.dumps(records(host)[-1])


def test_who_reads_no_more_of_an_archive_leaves_the_next_one_possible(host: RunningHost) -> None:
    assert archived(host, KEEPER, 1)
    host.until(lambda document: b"SQLite" not in again(host), "another one", timeout_s=30)


def archives(host: RunningHost, times: int) -> None:
    for _ in range(times):
        archived(host)


def archived(host: RunningHost, name: str = KEEPER, most: int = 1 << 30) -> bytes:
    return b"".join(host.client().stream(name, "archive", most, timeout_s=60))


def again(host: RunningHost) -> bytes:
    try:
        found = archived(host)
    except Busy:  # the process of the one before has not ended yet
        return b"SQLite"
    return found


def test_a_flood_of_archives_is_busy_but_for_a_few(host: RunningHost) -> None:
    before = len(records(host))
    assert host.client().call(KEEPER, "say_runtime", 0, 15) == "sent"
    host.until(lambda document: host.loop("secondary.keeper")["state"] == "active", "that it still runs")
    with pytest.raises(Busy):
        archives(host, ARCHIVES_AT_ONCE + 1)
    assert len(records(host)) - before <= ARCHIVES_AT_ONCE


def test_another_number_ends_the_process_and_does_nothing(host: RunningHost) -> None:
    before, living = len(records(host)), {name: host.loop(name)["pid"] for name in ("secondary.ai", "forth.policy")}
    restarts = host.loop("third.other")["restarts"]
    with suppress(CallError):
        host.client().call(OTHER, "say_runtime", 0)
    host.until(lambda document: host.loop("third.other")["restarts"] > restarts, "its end")
    assert "no_such_right" in host.loop("third.other")["last_death"]["sentence"]
    assert {name: host.loop(name)["pid"] for name in living} == living and len(records(host)) == before


def test_a_flood_is_answered_and_does_no_more_than_its_bound(host: RunningHost) -> None:
    before = len(records(host))
    assert host.client().call(POLICY, "say_runtime", 1, 30) == "sent"  # resumes of what runs
    host.until(lambda document: host.loop("forth.policy")["state"] == "active", "that it still runs")
    assert len(records(host)) - before <= RUNTIME_AT_ONCE + 2


def test_the_host_ends_in_order_when_a_component_says_so(host: RunningHost) -> None:
    """The last one, for it ends the host: within a time, of which a process that hangs has half and no more."""
    hung = host.loop("third.other")["pid"]
    assert isinstance(hung, int)
    os.kill(hung, signal.SIGSTOP)
    assert host.client().call(ENDER, "have", "shutdown", "", 4) == "done"
    host.wait_for("^authority +stopped")
    [killed] = [line.split() for line in host.console if line.split()[1:2] == ["killed"]]
    assert killed[0] == "third.other" and 1500 < float(killed[3]) < 4500, killed
    own = [line.split()[0] for line in host.console if line.split()[:1] and line.startswith("forth")]
    assert own[-1] == "forth.ender", "who ends the host ends last in Forth"
    ended = [line.split()[0].split(".")[0] for line in host.console if line.split()[1:2] == ["stopped"]]
    loops = [name for number, name in enumerate(ended) if name not in ended[:number]]
    assert loops == ["external", "third", "secondary", "primary", "forth", "authority"]
