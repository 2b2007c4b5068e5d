"""The shipped profile files on an installed host: sealed, taken by a reload, and read at no other time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import changeable, scratch
from hosts.installed_host import InstalledHost

ADDED = "\nallow:\n- calls: [sync]\n  why: for this test\n"


@pytest.fixture
def host() -> Iterator[InstalledHost]:
    made = InstalledHost(changeable(), scratch() / "reloaded")
    made.like_new()
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def profile(host: InstalledHost) -> Iterator[Path]:
    """The file of a loop's profile; put back as it was, with its times."""
    path = host.environment.site / "tlsrt" / "sandbox" / "profiles" / "third.yaml"
    data, status = path.read_bytes(), path.stat()
    yield path
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def loops(host: InstalledHost) -> dict[str, dict[str, Any]]:
    return {loop["name"]: loop for loop in host.status()["loops"]}


def refused(host: InstalledHost) -> str:
    code, output, errors = host.run("reload", "--config", host.config)
    assert (code, output) == (78, "")
    return errors


def test_a_changed_profile_file(host: InstalledHost, profile: Path) -> None:
    with host.started():
        before = loops(host)
        profile.write_text(profile.read_text() + ADDED)
        assert "changed tlsrt/sandbox/profiles/third.yaml" in refused(host)
        assert loops(host).keys() == before.keys() and loops(host)["third"]["pid"] == before["third"]["pid"]
        host.seal()
        report = json.loads(host.do("reload", "--json", "--config", host.config))
        third = next(loop for loop in report["loops"] if loop["name"] == "third")
        assert (third["outcome"], third["changed"]) == ("restarted", ["system calls"])
        assert [loop["name"] for loop in report["loops"] if loop["outcome"] != "unchanged"] == ["third"]
        after = loops(host)
        assert after["third"]["sandbox"]["profile"] == third["profile"] != before["third"]["sandbox"]["profile"]
        assert after["third"]["epoch"] == after["primary"]["epoch"] == report["epoch"]
        # A wrong file is refused, and whoever dies meanwhile comes back under the profile in force.
        profile.write_text("about: [wrong]")
        code, _, errors = host.run("seal", "--config", host.config)
        assert code == 69 and "profile third" in errors, "a seal of what cannot be confined would be of no use"
        assert "third" in refused(host)
        os.kill(after["third"]["pid"], signal.SIGKILL)
        limit = time.monotonic() + 30
        while (again := loops(host)["third"])["pid"] in (None, after["third"]["pid"]) or again["state"] != "active":
            assert time.monotonic() < limit, again
        assert again["sandbox"]["profile"] == third["profile"]
        assert host.call("third/io", "describe")
