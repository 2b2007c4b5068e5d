"""Memory, task and CPU limits by control groups for real: `make test-cgroup`, not part of `make test`.

Few machines for development have the controllers of version 2 to give away; a user-mode kernel (Debian's package
user-mode-linux) has, see kernel.py. Nothing on the host changes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import portable
from tools.user_mode_kernel.kernel import NOBODY, run_kernel

GUEST = Path(__file__).with_name("guest.py")
PATIENCE_S = 240


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the guest has found."""
    environment = portable()
    with tempfile.TemporaryDirectory(prefix="tlsrt-uml.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "home"  # the guest's memory lies here
        home.mkdir()
        shutil.copy(GUEST, folder / "guest.py")
        init = folder / "init"
        libraries = f"export LD_LIBRARY_PATH={environment.libraries}\n" if environment.libraries else ""
        init.write_text(f"#!/bin/sh\n{libraries}exec {environment.program('python')} -I -B {folder / 'guest.py'}\n")
        init.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        said = run_kernel(folder, init, "512M", PATIENCE_S, {"HOME": str(home), "TMPDIR": str(home)})
    lines = [line for line in said.splitlines() if line.startswith("FOUND ")]
    assert lines, said
    document: dict[str, Any] = json.loads(lines[0].removeprefix("FOUND "))
    print(json.dumps(document, indent=2))
    assert "error" not in document, document
    return document


def test_the_delegated_controllers_are_used_and_said(found: dict[str, Any]) -> None:
    assert {"memory", "pids", "cpu"} <= set(found["offered"])
    assert found["enforced"] == dict.fromkeys(("kill", "freeze", "memory", "tasks", "cpu"), "cgroup")
    assert found["sentence"].startswith("kill, freeze, memory, tasks, CPU share by cgroup /tlsrt-")
    assert "rlimits" not in found["sentence"] and "unlimited" not in found["sentence"]
    assert found["files"]["memory.max"] == str(64 << 20) and found["files"]["pids.max"] == "8"
    assert found["files"]["memory.oom.group"] == "1"


def test_a_delegated_group_must_hold_no_process_itself(found: dict[str, Any]) -> None:
    """As systemd's Delegate= makes it, without and with DelegateSubgroup=supervisor."""
    without, with_subgroup = found["service"]
    assert without.startswith("kill, freeze by cgroup /service/tlsrt-")
    assert "/service holds processes itself: start tlsrt in a group called `supervisor` below it" in without
    assert with_subgroup.startswith("kill, freeze, memory, tasks, CPU share by cgroup /service/tlsrt-")


def test_a_memory_bomb_ends_alone(found: dict[str, Any]) -> None:
    assert found["memory_bomb"] == "SIGKILL" and found["oom_kills"] >= 1
    assert found["memory_bomb_cause"] == "oom"
    assert found["answers_beside_memory"] == 200 and found["calm_oom_kills"] == 0


def test_a_fork_bomb_makes_what_it_may_and_no_more(found: dict[str, Any]) -> None:
    assert found["fork_bomb"]["made"] == 7, "eight tasks with itself"
    assert found["fork_bomb"]["error"] == "Resource temporarily unavailable" and found["forks_refused"] >= 1
    assert found["answers_beside_forks"] == 200 and found["calm_lives"]


def test_the_bomb_is_killed_as_a_whole_and_its_group_is_removed(found: dict[str, Any]) -> None:
    assert found["cleared"] and found["bomb_ended"] == "SIGKILL" and found["released"]


def test_a_group_of_three_burners_gets_no_more_than_one_of_one(found: dict[str, Any]) -> None:
    one, three = found["cpu"]
    assert 0.5 < one / three < 2, "without shares three would get three times as much"
