"""Hosts of which one process is given up, and which run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hosts.running_host import RunningHost


def running_with_failed(request: pytest.FixtureRequest, process: str, **options: Any) -> Iterator[RunningHost]:
    """The body of a fixture: a host that runs on while a process of it that matches `process` is given up."""
    failed = request.session.testsfailed
    host = RunningHost(**options)
    try:
        host.start(until=f"^{process} +failed")
        host.wait_for("^ready ")
        yield host
        if request.session.testsfailed > failed:
            host.print_logs()
    finally:
        host.close()


def words_of_failed(host: RunningHost, process: str) -> str:
    """Wait until a process is given up, and return what it has said last."""

    def is_down(status: dict[str, Any]) -> bool:
        return any(loop["name"] == process and loop["state"] == "failed" for loop in status["loops"])

    host.until(is_down, f"{process} is given up")
    words: str = host.loop(process)["last_death"]["said"]
    return words
