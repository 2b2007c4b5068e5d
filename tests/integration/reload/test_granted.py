"""The helper comes with the first grant that a reload brings, and goes with the last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.reloading_host import edit, reload, seal_host
from hosts.running_host import RunningHost, running

from tlsrt.errors import CallError

HELPED = "third/helped"
STAT = Path("/proc/sys/vm/stat_interval")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="settings of the kernel are root's")


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    before = STAT.read_text()
    components = {HELPED: {"class": "captured.helped:Helped"}}
    yield from running(request, packages=[PACKAGE], components=components, policy={f"client/admin -> {HELPED}": "*"})
    STAT.write_text(before)


def grant(host: RunningHost, values: str | None) -> None:
    """Grant a setting with these values, or none any more."""
    setting = {"name": "stat", "path": str(STAT), "values": values, "why": "a test"}

    def change(document: dict[str, Any]) -> None:
        document["components"][HELPED]["needs"] = {"settings": [setting] if values else []}

    edit(host, change)
    seal_host(host)
    reload(host)


def test_a_grant_comes_changes_and_goes(host: RunningHost) -> None:
    assert host.status()["helper"] is None and "helper" not in host.cli("status").stdout
    for values in ("2", "3"):
        grant(host, values)
        host.until(lambda document: (document["helper"] or {}).get("state") == "active", "the helper")
        assert host.client().call(HELPED, "write_setting", "stat", int(values)) == "done"
        assert STAT.read_text() == f"{values}\n"
    grant(host, None)
    host.until(lambda document: document["helper"] is None, "its end")
    with pytest.raises(CallError):
        host.client().call(HELPED, "write_setting", "stat", 3)
