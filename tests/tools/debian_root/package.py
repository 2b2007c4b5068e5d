"""The package of Debian in a clean root of Debian 13, under a systemd that boots there: `make test-deb`.

Installed, upgraded, upgraded again, downgraded, removed, installed again and purged, in this order, each with a host
that serves. Needs root and a mirror of Debian, for the root alone: what is installed then comes from no network.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.booted_systemd import BootedSystemd
from hosts.calling_clients import calling
from hosts.debian_root import debian_root, packages_of
from hosts.installation import copy_tracked, scratch

BUNDLE = {"TLSRT_BUNDLE": "/etc/tlsrt/admin.tlsrt"}
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
NEXT = "0.2.0"
BILL = "tlsrt.cdx.json"
# What changes by itself while packages come and go, or is the operator's and stays
OTHERS = re.compile(
    r"/(proc|sys|dev|run|tmp|debs)(/|$)|/var/(lib/(dpkg|systemd|apt)|cache|log/(dpkg|alternatives|apt|journal))"
    r"|/etc/(tlsrt|machine-id|\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-?$)|/root|__pycache__"
)


def build(name: str, version: str | None = None, *, umask: int = 0o022) -> Path:
    """Build the package of Debian from a copy of its own, in a folder of its own; return it."""
    copy_tracked(scratch() / f"sources-{name}")
    run_here("deb", name, *([] if version is None else ["--version", version]), umask=umask)
    [made] = (scratch() / f"made-{name}").glob("*.deb")
    return made


def run_here(program: str, name: str, *words: str, umask: int) -> None:
    done = subprocess.run(
        [sys.executable, f"distribution/{program}.py", str(scratch() / f"made-{name}"), *words],
        cwd=scratch() / f"sources-{name}", umask=umask, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def debs() -> dict[str, Path]:
    return {"first": build("first"), "next": build("next", NEXT)}


@pytest.fixture(scope="module")
def machine(debs: dict[str, Path]) -> Iterator[BootedSystemd]:
    root = debian_root([*packages_of(debs["first"]), "man-db", "python3-h11"])
    folder = scratch() / "debs"
    folder.mkdir()
    for name, path in debs.items():
        shutil.copy(path, folder / f"{name}.deb")
    (root / "debs").mkdir()
    with BootedSystemd({folder: Path("/debs")}, root=root) as machine:
        yield machine
        print(machine.run("journalctl", "--no-pager", "-n", "100").stdout, file=sys.stderr)


def dpkg(machine: BootedSystemd, *words: str) -> str:
    done = machine.run("dpkg", *words, environment=QUIET)
    assert done.returncode == 0, f"dpkg {words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def call(machine: BootedSystemd, *words: str) -> str:
    return machine.do("tlsrt", "call", *(words or ("primary/kernel", "uname")), environment=BUNDLE)


def pid(machine: BootedSystemd) -> int:
    return int(machine.show("tlsrt", "MainPID"))


def files(machine: BootedSystemd) -> set[str]:
    found = machine.do("find", "/", "-xdev", "-not", "-type", "d").splitlines()
    return {name for name in found if not OTHERS.search(name)}


def users(machine: BootedSystemd) -> str:
    return machine.do("cat", "/etc/passwd", "/etc/group")


@pytest.fixture(scope="module")
def before(machine: BootedSystemd) -> tuple[set[str], str]:
    """What a clean Debian has."""
    return files(machine), users(machine)


def test_lintian_finds_no_error(debs: dict[str, Path]) -> None:
    done = subprocess.run(["lintian", "--fail-on", "error", debs["first"]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_same_sources_make_the_same_bytes(debs: dict[str, Path]) -> None:
    """Package, wheel and sdist, of another copy, at another time, in another folder and under another umask."""
    again = build("again", umask=0o077).parent
    for name, umask in (("first", 0o022), ("again", 0o077)):
        run_here("dist", name, umask=umask)
    made = {path.name: path.read_bytes() for path in debs["first"].parent.iterdir()}
    assert {Path(name).suffix for name in made} == {".whl", ".gz", ".deb"}
    assert made == {path.name: path.read_bytes() for path in again.iterdir()}


def test_both_have_the_bill_of_materials_of_the_wheel_beside_them(debs: dict[str, Path]) -> None:
    folder = debs["first"].parent
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        [member] = [one for one in archive.getmembers() if one.name.endswith(f"/{BILL}")]
        file = archive.extractfile(member)
        assert file is not None
        bill = file.read()
    [described] = json.loads(bill)["metadata"]["component"]["hashes"]
    assert described["content"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    tree = subprocess.run(["dpkg-deb", "--fsys-tarfile", debs["first"]], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        file = archive.extractfile(f"./usr/share/doc/tlsrt/{BILL}")
        assert file is not None and file.read() == bill


def test_it_installs_and_says_what_is_next(machine: BootedSystemd, before: tuple[set[str], str]) -> None:
    said = dpkg(machine, "-i", "/debs/first.deb")
    assert "next: `tlsrt-supervisor init --system`, then `tlsrt-supervisor install --now`" in said
    assert machine.do("tlsrt", "--version").startswith("tlsrt ")
    assert machine.do("id", "-u", "tlsrt").strip() != "0"
    assert machine.run("systemctl", "is-active", "tlsrt", "tlsrt.socket").stdout.split() == ["inactive", "inactive"]


@pytest.mark.parametrize("page", ["tlsrt", "tlsrt-supervisor"])
def test_its_manual_and_completion_are_where_debian_looks(machine: BootedSystemd, page: str) -> None:
    path = machine.do("man", "-w", page).strip()
    assert gzip.decompress(machine.path(path).read_bytes()).startswith(b".TH")
    assert machine.run("man", "--warnings", "-E", "UTF-8", page).stderr == ""
    machine.do("bash", "-n", f"/usr/share/bash-completion/completions/{page}")
    for place in (f"zsh/vendor-completions/_{page}", f"fish/vendor_completions.d/{page}.fish"):
        assert machine.path(f"/usr/share/{place}").is_file()


def test_two_commands_make_a_service_of_the_units_of_the_package(machine: BootedSystemd) -> None:
    machine.do("tlsrt-supervisor", "init", "--system")
    said = machine.do("tlsrt-supervisor", "install", "--now")
    assert said.count("as it is: /usr/lib/") == 4, said
    assert not machine.path("/etc/systemd/system/tlsrt.service").exists()
    assert call(machine)
    assert machine.show("tlsrt", "FragmentPath") == "/usr/lib/systemd/system/tlsrt.service"
    call(machine, "secondary/store", "put", "greeting", "hello")
    assert "measure: strict" in machine.path("/etc/tlsrt/tlsrt.yaml").read_text()


def test_the_journal_explains_an_event(machine: BootedSystemd) -> None:
    assert "Defined-By: tlsrt" in machine.do("journalctl", "--no-pager", "-x", "-u", "tlsrt", "-n", "50")


def test_it_installs_again_over_a_host_that_runs_on(machine: BootedSystemd) -> None:
    running = pid(machine)
    for _ in range(2):
        assert "measured files have changed" not in dpkg(machine, "-i", "/debs/first.deb")
    assert pid(machine) == running
    assert call(machine)


def test_another_package_beside_it_is_not_measured_and_one_that_it_needs_is_said_at_once(
    machine: BootedSystemd,
) -> None:
    machine.write("/usr/lib/python3/dist-packages/another/__init__.py", "x = 1\n")
    assert machine.do("tlsrt-supervisor", "seal", "--diff").strip() == "nothing differs from the boot token"
    needed = "/usr/lib/python3/dist-packages/msgpack/__init__.py"
    text = machine.path(needed).read_text()
    machine.write(needed, f"{text}\n")
    assert "dep/msgpack/__init__.py" in dpkg(machine, "-i", "/debs/first.deb")  # as its triggers do
    machine.write(needed, text)
    machine.do("rm", "-r", "/usr/lib/python3/dist-packages/another")


def test_an_upgrade_lets_the_host_run_says_what_to_do_and_loses_no_call_that_can_be_repeated(
    machine: BootedSystemd,
) -> None:
    running = pid(machine)
    with calling(machine, "python3") as clients:
        said = dpkg(machine, "-i", "/debs/next.deb")
        assert "0.1.0 -> 0.2.0" in said and "`tlsrt-supervisor seal`, then `systemctl restart tlsrt`" in said
        assert pid(machine) == running
        assert call(machine)
        machine.do("tlsrt-supervisor", "seal")
        machine.systemctl("restart", "tlsrt")
        assert pid(machine) != running
        clients.end_all_answered(least=20)
    assert call(machine, "secondary/store", "get", "greeting").strip() == "hello"
    assert machine.do("tlsrt-supervisor", "version") == f"tlsrt {NEXT}\n"
    assert "override_rc}{qr(^tlsrt" in machine.path("/etc/needrestart/conf.d/tlsrt.conf").read_text()


def test_a_downgrade_says_so(machine: BootedSystemd) -> None:
    said = dpkg(machine, "-i", "/debs/first.deb")
    assert "tlsrt: this is a downgrade, from 0.2.0-1 to 0.1.0-1: `tlsrt-supervisor seal --allow-downgrade`" in said
    assert machine.run("systemctl", "restart", "tlsrt").returncode != 0  # it was not accepted yet
    assert "is older than 0.2.0" in machine.run("tlsrt-supervisor", "seal").stderr
    machine.do("tlsrt-supervisor", "seal", "--allow-downgrade")
    machine.systemctl("restart", "tlsrt")
    assert call(machine, "secondary/store", "get", "greeting").strip() == "hello"


def test_a_removal_stops_it_and_keeps_the_state_and_an_installation_finds_it(machine: BootedSystemd) -> None:
    assert pid(machine)
    dpkg(machine, "-r", "tlsrt")
    assert machine.run("systemctl", "cat", "tlsrt").returncode != 0
    assert machine.run("pgrep", "-f", "tlsrt").stdout == ""
    assert machine.path("/var/lib/tlsrt").is_dir() and machine.path("/etc/tlsrt/master.key").is_file()
    assert not machine.path("/usr/lib/python3/dist-packages/tlsrt").exists()
    dpkg(machine, "-i", "/debs/first.deb")
    machine.do("tlsrt-supervisor", "install", "--now")
    assert call(machine, "secondary/store", "get", "greeting").strip() == "hello"


def test_a_purge_leaves_a_clean_debian_and_the_keys(machine: BootedSystemd, before: tuple[set[str], str]) -> None:
    said = dpkg(machine, "-P", "tlsrt")
    assert "/etc/tlsrt stays, with the configuration and the keys" in said
    assert files(machine) == before[0]
    assert users(machine) == before[1]
    assert not [name for name in ("/var/lib/tlsrt", "/var/log/tlsrt", "/run/tlsrt") if machine.path(name).exists()]
    assert machine.path("/etc/tlsrt/master.key").is_file()
