"""Programs with habits of systemd, on a real host: time to end by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

# It writes what it holds when it is asked to end, which takes longer than the time that a program has by default.
BROKER = """#!/bin/sh
trap 'sleep 2; echo "$$ has written all" >>/state/written; exit 0' USR1
echo "it serves"
while :; do sleep 0.1; done
"""
DEAF = """#!/bin/sh
trap '' TERM
echo "it hears nothing"
while :; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    folder = tmp_path_factory.mktemp("habits")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)

    def script(name: str, text: str, **more: Any) -> dict[str, Any]:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        return {"kind": "program", "run": str(folder / name), "also_runs": ["/usr/bin/sleep"], **more}

    components = {
        "external/broker": script("broker", BROKER, stop_signal="USR1", stop_seconds=20, needs={"state_mb": 1}),
        "third/deaf": script("deaf", DEAF, stop_seconds=0.5),
    }
    yield from running(request, components=components)


def written(host: RunningHost) -> int:
    file = Path(host.config.state_dir) / "external.broker+main+1" / "written"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_what_writes_when_it_is_asked_to_end_has_its_time_at_a_restart_and_a_stop(host: RunningHost) -> None:
    """The last one here: the host stops."""
    for name in ("external.broker", "third.deaf"):
        host.until(lambda status, name=name: "it" in host.log(name), f"that {name} runs")  # type: ignore[misc]
    answer = host.cli("restart", "external.broker")
    assert answer.returncode == 0, answer.stderr
    assert written(host) == 1
    host.until(lambda status: host.log("external.broker").count("it serves") == 2, "its next run")
    began = time.monotonic()
    assert host.stop() == 0
    assert written(host) == 2, "a stop of the host waits, too"
    assert time.monotonic() - began < 20, "and not for what does not hear"
