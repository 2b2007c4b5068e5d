"""The suite with the lowest versions that tlsrt asks for, those of Debian 13's own packages: `make test-lowest`.

A clean root of Debian 13 boots, with Debian's Python, its python3-* packages and its pytest. There a copy of the
sources runs the tests that need no processes, and some files with real hosts. Left out is what needs packages that
Debian has not, or has in another version than the tests ask for.

So the tests that need no processes run on Python 3.13 here, and .ci/run has none of them run on it once more: but for
those that `python -m tools.debian_root.left_out` prints.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator

import pytest
from hosts.booted_systemd import BootedSystemd
from hosts.debian_root import debian_root
from hosts.installation import CHECKOUT, copy_tracked

from tools.debian_root.left_out import UNTRUE, WITHOUT

PLACE = "/root/tlsrt"
DEBIAN = {
    "cryptography": "python3-cryptography", "PyYAML": "python3-yaml", "pyzmq": "python3-zmq",
    "msgpack": "python3-msgpack", "psutil": "python3-psutil", "h11": "python3-h11",
    "dbus-fast": "python3-dbus-fast",
}  # fmt: skip
TOOLS = (
    "python3-pytest", "python3-pytest-timeout", "python3-hypothesis", "python3-cryptography-vectors",
    "ca-certificates", "netbase", "tzdata", "linux-libc-dev", "iproute2", "procps", "systemd",
)  # fmt: skip
REAL = (
    "tests/integration/test_supervision.py", "tests/integration/test_enrolment.py",
    "tests/integration/test_tls_door.py", "tests/integration/test_door_admission.py",
    "tests/integration/test_proxied_door.py",
)  # fmt: skip
HANDS = 2  # processes that share the files


def lowest() -> dict[str, str]:
    """Return the lowest versions that pyproject.toml asks for, by name."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["http"], *extras["dbus"]]
    return {name: version for line in lines for name, version in re.findall(r"([A-Za-z0-9-]+)>=([0-9.]+)", line)}


@pytest.fixture(scope="module")
def machine() -> Iterator[BootedSystemd]:
    root = debian_root([*TOOLS, *DEBIAN.values()])
    copy_tracked(root / PLACE.lstrip("/"))
    (root / "etc/resolv.conf").touch()
    site = root / "usr/local/lib/python3.13/dist-packages"
    (site / "tlsrt.pth").write_text(f"{PLACE}\n")  # as an editable installation
    about = site / "tlsrt-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tlsrt\nVersion: 0\n")
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    entries = "".join(f"{name} = {place}\n" for name, place in scripts.items())
    (about / "entry_points.txt").write_text(f"[console_scripts]\n{entries}")
    with BootedSystemd(root=root) as machine:
        # An overlay does not tell what is in memory: words of a log are not waited for (supervisor/process/logs.py).
        machine.do("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
        yield machine


def start(machine: BootedSystemd, *words: str) -> subprocess.Popen[str]:
    """Start pytest inside."""
    environment = {"HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis", "LC_ALL": "C.UTF-8"}
    # of that Hypothesis, by chance: whether its own source of randomness can be collected
    quiet = ("-W", "ignore:It looks like `register_random`")
    command = f"env -C {PLACE} timeout 600 python3 -B -m pytest -q -p no:cacheprovider --tb=short"
    return machine.popen(*command.split(), *quiet, *words, environment=environment)


def passed(running: subprocess.Popen[str]) -> str:
    with running:
        said, _ = running.communicate(timeout=700)
    assert running.returncode == 0, said[-6000:]
    return said.splitlines()[-1]


def test_debian_has_the_lowest_versions(machine: BootedSystemd) -> None:
    """By their first numbers: a later fix of Debian's is the same version."""
    for name, version in lowest().items():
        has = machine.do("dpkg-query", "--show", "--showformat=${Version}", DEBIAN[name])
        assert has.startswith(version), f"{name} is {has} there, and the lowest is said to be {version}"


def test_what_needs_no_processes(machine: BootedSystemd) -> None:
    left_out = [*(f"--ignore={name}" for name in WITHOUT), *(f"--deselect={name}" for name in UNTRUE)]
    files = ("tests/unit", "tests/property", *left_out, "--continue-on-collection-errors")
    running = [start(machine, *files, "--share=/tmp/next", f"--basetemp=/tmp/w{number}") for number in range(HANDS)]
    print(*map(passed, running), sep="\n")


def test_real_hosts(machine: BootedSystemd) -> None:
    print(passed(start(machine, *REAL)))
