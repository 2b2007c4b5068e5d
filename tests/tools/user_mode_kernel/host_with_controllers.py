"""tlsrt as a service of a real systemd that has controllers to delegate: `make test-cgroup`.

The kernel is a user-mode one, as in limits_by_cgroup.py; systemd boots in it as tests/hosts/booted_systemd.py boots one
on this machine, and `tlsrt-supervisor install` does the rest. That kernel has no Landlock: `init` waives it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hosts.booted_systemd import HOME, installation
from hosts.installation import VERSION
from tools.user_mode_kernel.kernel import NOBODY, run_kernel

HERE = Path(__file__).parent
BOOT = HERE.parent / "booted_systemd/boot.sh"
PATIENCE_S = 280
BOMB = '''
from tlsrt import Component, handler


class Bomb(Component):
    """Takes memory that no rlimit counts: its folder is in memory here."""

    @handler
    async def take(self, mib: int) -> int:
        with (self.state / "taken").open("wb") as file:
            for _ in range(mib):
                file.write(bytes(1 << 20))
        return mib
'''
UNIT = """
[Service]
Type=simple
ExecStartPre=/bin/mount -t hostfs -o hostfs={out} none /mnt
ExecStartPre=/bin/sh -c 'echo {home}/python/lib >/etc/ld.so.conf.d/tlsrt-test.conf; {ldconfig}'
ExecStart={python} -I -B {service}
ExecStopPost=/bin/systemctl poweroff --force --force
Environment=PATH={home}/env/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def lay(folder: Path) -> Path:
    """Write what the guest starts with into a folder; return its first program."""
    opt, units, where = folder / "opt", folder / "units", "/usr/local/lib/systemd/system"
    shutil.copytree(installation(), opt, symlinks=True)
    (opt / f"env/lib/{VERSION}/site-packages/bomb.py").write_text(BOMB)
    has_library = any((opt / "python/lib").glob("libpython*"))
    (units / "basic.target.wants").mkdir(parents=True)
    (units / "basic.target.wants/proof.service").symlink_to("../proof.service")
    shutil.copy(HERE / "service.py", units)
    unit = UNIT.format(
        out=folder / "out", python=HOME / "env/bin/python", service=f"{where}/service.py", home=HOME,
        ldconfig="ldconfig" if has_library else "true",
    )  # fmt: skip
    (units / "proof.service").write_text(unit)
    shutil.copy(BOOT, folder / "boot.sh")
    shutil.copy(HERE / "boot_and_serve.sh", folder / "first.sh")
    given = {
        "BOOT_SCRIPT": folder / "boot.sh", "BOOT_BINDS": f"{opt} {HOME}\n{units} {where}",
        "BOOT_PYTHON": next(opt.glob("python/bin/python*")),
        **({"LD_LIBRARY_PATH": opt / "python/lib"} if has_library else {}),
    }  # fmt: skip
    lines = "".join(f"export {name}='{value}'\n" for name, value in given.items())
    (folder / "init").write_text(f"#!/bin/sh\n{lines}exec {folder}/first.sh\n")
    for name in ("init", "boot.sh", "first.sh"):
        (folder / name).chmod(0o755)
    return folder / "init"


@pytest.fixture(scope="module")
def both() -> dict[str, Any]:
    """What the service inside has found, as root and as a user without rights."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-uml.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for one in ("home", "out"):  # the guest's memory, and its answer
            (folder / one).mkdir()
            if os.geteuid() == 0:
                os.chown(folder / one, NOBODY, NOBODY)
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else str(folder / "home")
        said = run_kernel(folder, lay(folder), "1200M", PATIENCE_S, {"HOME": str(folder / "home"), "TMPDIR": memory})
        answer = folder / "out/found.json"
        assert answer.exists(), said
        document: dict[str, Any] = json.loads(answer.read_text())
    print(json.dumps(document, indent=2))
    assert "error" not in document, document
    return document


@pytest.fixture(params=["root", "tlsrt"])
def found(request: pytest.FixtureRequest, both: dict[str, Any]) -> dict[str, Any]:
    """What it has found as one of the two."""
    document: dict[str, Any] = both[request.param]
    assert (document["uid"] == 0) is (request.param == "root")
    return document


def test_the_unit_has_controllers_and_the_host_says_so(found: dict[str, Any]) -> None:
    assert "kill, freeze, memory, tasks, CPU share by cgroup" in found["status"]


def test_each_process_has_the_limits_of_the_configuration(found: dict[str, Any]) -> None:
    assert "/tlsrt.service/" in found["group"]
    assert found["files"]["memory.max"] == str(96 << 20)
    assert found["files"]["pids.max"].isdigit() and found["files"]["cpu.weight"].isdigit()
    assert found["files"]["memory.oom.group"] == "1"


def test_a_component_that_takes_too_much_ends_alone_and_is_named_so(found: dict[str, Any]) -> None:
    assert found["taken"][0] != 0
    assert len(found["died"]) == 1, found["died"]
    [died] = found["died"]
    assert died["TLSRT_CAUSE"] == "oom" and died["TLSRT_SUBJECT"] == "third.bomb", died
    assert (found["active"], found["restarts"], found["beside"]) == ("active", "0", 0)
