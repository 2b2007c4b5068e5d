"""A component of a running host gets what it needs, no other loop does, and `sandbox explain` says the same."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running, uid_base
from probes.sandbox_runner import MODES, NOBODY

from tlsrt import Client

THIRD = 3  # its place after the authority, primary and secondary
NAMES = ("third/wisher", "secondary/wisher")


@dataclass(frozen=True, slots=True)
class World:
    """A host, its client, the folders, and ports of 127.0.0.1 with a listener each."""

    host: RunningHost
    client: Client
    base: Path
    listed: int
    other: int

    def explained(self, address: str, *what: str) -> bool:
        """Ask the command line; every refusal must name a layer and a reason."""
        done = self.host.cli("sandbox", "explain", address.partition("/")[0], *what)
        assert done.returncode in (0, 1) and not done.stderr, done.stderr
        return done.returncode == 0


@pytest.fixture(scope="module", params=MODES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    base = Path(tempfile.mkdtemp(prefix="tlsrt-needs."))
    base.chmod(0o755)
    for name in ("pictures", "data"):
        (base / name).mkdir()
    (base / "data" / "there").write_text("x")
    uid = NOBODY if request.param == "rootless" else uid_base() + THIRD
    if os.geteuid() == 0:
        os.chown(base / "pictures", uid, uid)
    with socket.create_server(("127.0.0.1", 0)) as listed, socket.create_server(("127.0.0.1", 0)) as other:
        port = listed.getsockname()[1]
        needs = {
            "read": [str(base / "data")], "proc": True, "memory_mb": 16,
            "write": [{"path": str(base / "pictures"), "why": "keeps what it fetched"}],
            "egress": [{"to": [f"127.0.0.1:{port}"], "why": "fetches from there"}],
            "calls": [{"calls": ["inotify_init1"], "why": "sees new pictures"}],
        }  # fmt: skip
        components = {name: {"class": "captured.wisher:Wisher", "process": "shared"} for name in NAMES}
        hosts = running(
            request, packages=[PACKAGE], mode=request.param, components=components | {NAMES[0]: {**components[NAMES[0]],
            "needs": needs}}, policy={f"client/admin -> {name}": "*" for name in NAMES},
        )  # fmt: skip
        try:
            for host in hosts:
                yield World(host, host.client(), base, port, other.getsockname()[1])
        finally:
            shutil.rmtree(base)


@pytest.mark.parametrize(
    ("address", "path", "write", "is_allowed"),
    [
        ("third/wisher", "{base}/pictures/new", True, True),
        ("third/wisher", "{base}/data/there", False, True),
        ("third/wisher", "{base}/data/there", True, False),
        ("third/wisher", "/proc/meminfo", False, True),
        ("third/wisher", "{base}/secret", False, False),
        ("secondary/wisher", "{base}/pictures/new", False, False),
        ("secondary/wisher", "{base}/pictures/new", True, False),
        ("secondary/wisher", "{base}/data/there", False, False),
        ("secondary/wisher", "/proc/meminfo", False, False),
    ],
)
def test_files(world: World, address: str, path: str, write: bool, is_allowed: bool) -> None:
    where = path.format(base=world.base)
    assert (world.client.call(address, "open", where, write) == "allowed") is is_allowed
    if not write or is_allowed:  # of a path, explain's word is about reading after the seal, or anything
        assert world.explained(address, where) is is_allowed


@pytest.mark.parametrize(("address", "port"), [(name, port) for name in NAMES for port in ("listed", "other")])
def test_hosts(world: World, address: str, port: str) -> None:
    number, is_allowed = getattr(world, port), (address, port) == ("third/wisher", "listed")
    assert (world.client.call(address, "reach", "127.0.0.1", number) == "allowed") is is_allowed
    assert world.explained(address, f"127.0.0.1:{number}") is is_allowed


@pytest.mark.parametrize("address", NAMES)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("inotify_init1", [0]), ("socket", [2, 1, 0]), ("socket", [2, 3, 1]), ("getpid", []), ("io_uring_setup", [8, 0])],
)
def test_calls(world: World, address: str, name: str, arguments: list[int]) -> None:
    met = world.client.call(address, "call_kernel", name, arguments)
    assert world.explained(address, name, *map(str, arguments)) is (met == "allowed")
    if name == "inotify_init1":
        assert (met == "allowed") is (address == "third/wisher")


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        ({"calls": [{"calls": ["execve"], "why": "runs a shell"}]}, "third/wisher cannot have execve: no process"),
        ({"write": [{"path": "{folder}/state/secondary", "why": "looks"}]}, "is a secret of the host"),
        ({"egress": [{"to": ["*.example.org:443"], "why": "phones home"}]}, "a rule names each host"),
    ],
)
def test_a_wish_that_nobody_gets_stops_the_start_with_file_line_and_column(
    world: World, needs: dict[str, object], sentence: str
) -> None:
    path = world.host.folder / "wished.yaml"
    document = yaml.safe_load(world.host.config_path.read_text())
    wish = yaml.safe_load(yaml.safe_dump(needs).replace("{folder}", str(world.host.folder)))
    document["components"]["third/wisher"]["needs"] = wish
    path.write_text(yaml.safe_dump(document))
    done = world.host.cli("start", config=path)
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert sentence in line and re.match(rf"tlsrt-supervisor: {re.escape(str(path))}:\d+:\d+: ", line)
