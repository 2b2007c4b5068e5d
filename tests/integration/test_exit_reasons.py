"""Why processes have ended, as `status` tells it: a word, a sentence, and what the kernel said, for real deaths."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running

# A loop whose memory ends where none of its components could notice: every second one that comes after the start.
PRELUDE = """
from tlsrt.loops.runtime import process
def _add(self, config, component, real=process.LoopProcess._add_host):
    if self.name == "forth" and self.incarnation > 5 and self.incarnation % 2 == 0:
        raise MemoryError
    real(self, config, component)
process.LoopProcess._add_host = _add
"""
SUPERVISION = {"restart": {"first_s": 0.01, "cap_s": 0.1, "deaths": 100}}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, prelude=LatePrelude(PRELUDE), extra={"supervision": SUPERVISION})


def next_death(host: RunningHost, name: str, incarnation: int) -> dict[str, Any]:
    """Wait until the process of this incarnation is dead and the next one active; return why it ended."""

    def is_back(status: dict[str, Any]) -> bool:
        entry = entry_of(status, name)
        return entry["state"] == "active" and bool(entry["last_death"]) and entry.get("incarnation") != incarnation

    death: dict[str, Any] = entry_of(host.until(is_back, f"the next {name}", timeout_s=20), name)["last_death"]
    age = datetime.now(UTC) - datetime.fromisoformat(death["at"])
    assert 0 <= age.total_seconds() < 60 and death["incarnation"] == incarnation
    return {key: death[key] for key in death if key not in ("at", "incarnation")}


def entry_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(loop for loop in status["loops"] if loop["name"] == name)
    return found


def test_a_signal(host: RunningHost) -> None:
    incarnation = host.loop("third")["incarnation"]
    host.kill("third")
    expected = {"cause": "signal", "sentence": "signal SIGKILL", "signal": "SIGKILL"}
    assert next_death(host, "third", incarnation) == expected
    assert "last death of third: signal SIGKILL" in host.cli("status").stdout


def test_a_stop_in_order_by_somebody_else_is_an_exit(host: RunningHost) -> None:
    incarnation = host.loop("third")["incarnation"]
    host.kill("third", signal.SIGTERM)
    assert next_death(host, "third", incarnation) == {"cause": "exit", "sentence": "exit code 0", "code": 0}


def test_a_hang(host: RunningHost) -> None:
    incarnation = host.loop("third")["incarnation"]
    host.kill("third", signal.SIGSTOP)
    death = next_death(host, "third", incarnation)
    assert (death["cause"], death["signal"]) == ("heartbeat", "SIGKILL")
    assert death["sentence"].startswith("heartbeat")


def test_memory_that_ends_below_the_limit(host: RunningHost) -> None:
    """The kernel's own killer is in `tests/tools/user_mode_kernel`: only a delegated controller counts for one loop."""
    before = len(host.console)
    for _ in range(2):
        host.respawn("forth")
        if any(line.startswith("forth      died    failed") for line in host.console[before:]):
            break
    host.wait_for("^forth +died +failed: no memory was left below its limit, see .*forth.log", after=before)
    found = host.loop("forth")["last_death"]
    assert (found["cause"], found["code"]) == ("memory_limit", 70)


def test_the_operators_word(host: RunningHost) -> None:
    incarnation = host.loop("third")["incarnation"]
    done = host.cli("restart", "third")
    assert done.returncode == 0 and re.fullmatch(r"third  active  pid \d+  in \d+ ms\n", done.stdout), done.stderr
    assert next_death(host, "third", incarnation) == {
        "cause": "restart", "sentence": "restarted, as the operator asked", "code": 0,
    }  # fmt: skip


def test_the_authority(host: RunningHost) -> None:
    host.kill("authority")
    status = host.until(lambda status: status["authority"]["restarts"] == 1, "the next authority")
    death = status["authority"]["last_death"]
    assert (death["cause"], death["signal"]) == ("signal", "SIGKILL")


def test_a_host_that_gives_up_says_why_and_ends_for_systemd_to_begin_anew() -> None:
    """Through the launcher, whose exit code is what systemd sees."""
    restart = {"deaths": 1, "escalate": "exit"}
    with RunningHost(extra={"supervision": {"groups": {"ui": {"loops": ["third"], "restart": restart}}}}) as host:
        assert host.process is not None
        host.kill("third")
        host.wait_for(
            "^ui +failed +third died once in 60 s, the last: third, signal SIGKILL; the host stops with exit code 69"
        )
        assert host.stop() == 69
