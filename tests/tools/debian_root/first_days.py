"""The page of the first ten days, typed as it stands in a clean Debian 13 under its systemd: `make test-deb`.

The client's machine is a network namespace with an address of its own and a home of its own; it finds the host by name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hosts.booted_systemd import BootedSystemd
from hosts.debian_root import debian_root, packages_of
from hosts.installation import scratch

from tools.debian_root.package import NEXT, QUIET, build
from tools.documents import ROOT, blocks

PAGE = ROOT / "docs/guide/first-days.md"
HOME = "/home/phone"
_COMMAND = re.compile(r"([#$]) (.+?)(?: {4}# exit code (\d+)(?: or (\d+))?)?")


class Typed(NamedTuple):
    """One command of the page: where it is typed, and how it ends."""

    is_client: bool
    words: str
    codes: tuple[int, ...]


def commands() -> Iterator[Typed]:
    for block in blocks(PAGE, "console"):
        for line in block.text.splitlines():
            found = _COMMAND.fullmatch(line)
            assert found is not None, f"no command: {line}"
            yield Typed(found[1] == "$", found[2], tuple(int(code) for code in found.groups()[2:] if code) or (0,))


@pytest.fixture(scope="module")
def machine() -> Iterator[BootedSystemd]:
    first, following = build("first"), build("next", NEXT)
    root = debian_root([*packages_of(first), "man-db", "python3-h11", "iproute2", "curl"])
    folder = scratch() / "typed"
    folder.mkdir()
    shutil.copy(first, folder / "tlsrt_0.1.0-1_all.deb")
    shutil.copy(following, folder / f"tlsrt_{NEXT}-1_all.deb")
    (root / "typed").mkdir()
    with BootedSystemd({folder: Path("/typed")}, root=root) as machine:
        yield machine
        print(machine.run("journalctl", "--no-pager", "-n", "100").stdout, file=sys.stderr)


def test_the_first_ten_days(machine: BootedSystemd) -> None:
    """Each command ends as the page says, and what it is for has happened."""
    machine.do("bash", "-ec", (
        "ip netns add phone; ip link add name door0 type veth peer name phone0 netns phone; ip link set door0 up;"
        "ip addr add 192.0.2.1/24 dev door0; ip -n phone addr add 192.0.2.7/24 dev phone0;"
        "ip -n phone link set phone0 up;"
        f"echo 192.0.2.1 kettle.local >> /etc/hosts; install -d -o nobody {HOME}"
    ))  # fmt: skip
    said: dict[str, str] = {}
    code = ""
    for typed in commands():
        words = typed.words.replace("CODE", code)
        done = _typed(machine, typed, words)
        if "/metrics" in words:  # within a second the same figures are answered, and no operator is as fast
            machine.until(lambda: _typed(machine, typed, words).returncode == 0, words)  # noqa: B023
            done = _typed(machine, typed, words)
        shown = f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode in typed.codes, shown
        said[typed.words] = done.stdout
        if found := re.search(r"tlsrt enroll kettle\.local:7443 (\S+)", done.stdout):
            code = found[1]
    statuses = [text for words, text in said.items() if words == "tlsrt-supervisor status"]
    assert statuses and all("all is well" in text for text in statuses)
    assert said["tlsrt call secondary/store get greeting"].strip() in ("hello", "")
    assert "decoy accessed: secondary/vault" in said["journalctl -u tlsrt -p warning"]
    assert re.search(r'tlsrt_events_total\{.*severity="alarm".*\} [1-9]', said[
        "curl -s http://127.0.0.1:9464/metrics | grep 'severity=\"alarm\"'"
    ])  # fmt: skip
    assert machine.do("tlsrt-supervisor", "version") == f"tlsrt {NEXT}\n"


def _typed(machine: BootedSystemd, typed: Typed, words: str) -> subprocess.CompletedProcess[str]:
    if typed.is_client:
        prefix = ("ip", "netns", "exec", "phone", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        return machine.run(*prefix, "env", f"HOME={HOME}", "bash", "-c", words)
    script = words.replace("apt install", "apt-get install --yes --allow-downgrades")
    return machine.run("bash", "-c", f"cd /typed; {script}", environment=QUIET)
