"""UNIX sockets of other programs: connected to as the component itself, and no other by any way there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from fakes.credential_server import credential_server
from hosts.reloading_host import edit, outcomes, reload, seal_host
from hosts.running_host import RunningHost, running
from probes.sandbox_runner import MODES, NOBODY
from tools.programs import need

BUS = "forth/bus"
DBUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow send_destination="*"/><allow own="*"/></policy></busconfig>
"""


@dataclass(frozen=True, slots=True)
class World:
    """A host with a component that may connect to `service` and `bus` of `folder`, and two servers there."""

    host: RunningHost
    folder: Path
    is_rootless: bool

    @property
    def service(self) -> Path:
        return self.folder / "service.sock"

    def ask(self, method: str, *arguments: object) -> Any:
        with self.host.client() as client:
            return client.call(BUS, method, *arguments)


@pytest.fixture(scope="module", params=MODES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-unix."))
    folder.chmod(0o755)
    needs = {"sockets": [{"path": f"{folder}/{name}", "why": "the test"} for name in ("service.sock", "bus.sock")]}
    components = {BUS: {"class": "captured.bus:Bus", "needs": needs}}
    hosts = running(
        request, packages=[PACKAGE], mode=request.param, components=components, policy={f"client/admin -> {BUS}": "*"}
    )
    try:
        with credential_server(folder / "service.sock", folder / "other.sock", folder / "third.sock"):
            for host in hosts:
                yield World(host, folder, request.param == "rootless")
    finally:
        shutil.rmtree(folder)


def test_the_other_side_sees_the_component_and_not_the_supervisor(world: World) -> None:
    for method in ("ask", "ask_by_asyncio"):
        seen = json.loads(world.ask(method, str(world.service)))
        assert seen["name"] == "service.sock"
        if world.is_rootless:
            assert seen["uid"] == NOBODY
        else:
            own = _uid_of(world.host.loop("forth.bus")["pid"])
            assert own > 0 and (seen["uid"], seen["gid"], seen["groups"]) == (own, own, [])
    assert world.host.loop("forth.bus")["violations"] == 0


def _uid_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Uid:")))


def test_explain_and_show_say_so(world: World) -> None:
    asked = world.host.cli("sandbox", "explain", "forth.bus", str(world.service))
    assert "connect: performed by the supervisor, as the uid of the process" in asked.stdout
    shown = world.host.cli("sandbox", "show", "forth.bus").stdout
    assert str(world.service) in shown and "UNIX sockets of other programs" in shown
    assert "its network namespace is empty" in shown


def test_no_other_socket_is_reached_by_any_name(world: World) -> None:
    folder = world.folder
    link = folder / "link.sock"
    link.symlink_to(world.service)
    names = [
        str(folder / "other.sock"), str(link), f"{folder}/./service.sock", f"{folder}//service.sock",
        f"{folder}/../{folder.name}/service.sock", "service.sock", "\0abstract", "",
        str(world.host.config.run_dir / "control.sock"), "/proc/self/root" + str(world.service),
    ]  # fmt: skip
    found = {name: world.ask("ask", name) for name in names}
    assert set(found.values()) <= {"EACCES", "EPERM", "EINVAL"}, found
    assert world.ask("send_to", str(world.service)) in ("EACCES", "EPERM")
    link.unlink()


def test_a_component_cannot_do_more_than_its_uid_could(world: World) -> None:
    if world.is_rootless:
        pytest.skip("all processes have one uid")
    world.service.chmod(0o600)
    assert world.ask("ask", str(world.service)) == "EACCES"
    world.service.chmod(0o666)
    assert world.ask("ask", str(world.service)).startswith("{")


def test_what_others_could_exchange_is_not_connected_to(world: World) -> None:
    service = str(world.service)
    world.folder.chmod(0o777)
    assert world.ask("ask", service) == "EACCES"
    world.folder.chmod(0o755)
    os.chown(world.folder, 12345, 12345)
    assert world.ask("ask", service) == ("EACCES" if not world.is_rootless else world.ask("ask", service))
    os.chown(world.folder, 0, 0)
    assert world.ask("ask", service).startswith("{")


@contextmanager
def exchanging(real: Path, other: Path) -> Iterator[None]:
    """Put a link to another socket in the place of the real one, and back, as fast as it goes."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        aside, link = real.with_suffix(".aside"), real.with_suffix(".link")
        os.symlink(other, link)
        os.rename(real, aside)
        while True:
            os.rename(link, real)
            os.rename(real, link)
            os.rename(aside, real)
            os.rename(real, aside)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for place in (real, real.with_suffix(".link")):
            if place.is_symlink():
                place.unlink()
        if real.with_suffix(".aside").exists():
            os.rename(real.with_suffix(".aside"), real)


def test_a_link_that_takes_its_place_meanwhile_leads_nowhere(world: World) -> None:
    other = world.folder / "other.sock"
    with exchanging(world.service, other):
        found = world.ask("ask_often", str(world.service), 100)
    assert sum(found.values()) == 100 and set(found) <= {"answered", "ELOOP", "EACCES", "ENOENT", "ECONNREFUSED"}
    with exchanging(world.service, other):
        told = [world.ask("ask", str(world.service)) for _ in range(20)]
    assert {json.loads(one)["name"] for one in told if one.startswith("{")} <= {"service.sock"}
    assert json.loads(world.ask("ask", str(world.service)))["name"] == "service.sock"


def test_reload_grants_one_more_without_a_restart_and_takes_it_away_with_one(world: World) -> None:
    host, third = world.host, str(world.folder / "third.sock")
    assert world.ask("ask", third) == "EACCES"
    more = {"path": third, "why": "one more"}
    edit(host, lambda document: document["components"][BUS]["needs"]["sockets"].append(more))
    seal_host(host)
    assert outcomes(reload(host))["forth.bus"] == "changed live"
    assert json.loads(world.ask("ask", third))["name"] == "third.sock"
    edit(host, lambda document: document["components"][BUS]["needs"]["sockets"].pop())
    seal_host(host)
    assert outcomes(reload(host))["forth.bus"] == "restarted"
    assert world.ask("ask", third) == "EACCES"


def test_a_real_bus_takes_it_for_what_it_is(world: World) -> None:
    """Its EXTERNAL authentication compares what we say with what the kernel says."""
    bus = world.folder / "bus.sock"
    (world.folder / "bus.conf").write_text(DBUS.format(path=bus))
    command = [need("dbus-daemon"), "--nofork", "--print-address", f"--config-file={world.folder}/bus.conf"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            assert str(bus) in daemon.stdout.readline()
            bus.chmod(0o666)
            own = NOBODY if world.is_rootless else _uid_of(world.host.loop("forth.bus")["pid"])
            assert world.ask("greet", str(bus), own) == "OK"
            assert world.ask("greet", str(bus), 0) == "REJECTED"
        finally:
            daemon.terminate()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("{run}/control.sock", "is a secret of the host"),
        ("/proc/self/fd/3", "/proc holds no sockets of other programs"),
        ("{folder}/link.sock/../service.sock", "an absolute path without links"),
        ("relative.sock", "an absolute path without links"),
        ("{folder}/plain", "it is no socket"),
    ],
)
def test_what_cannot_be_granted_is_a_sentence_with_its_place(world: World, path: str, sentence: str) -> None:
    host = world.host
    (world.folder / "plain").write_text("")
    place = path.format(run=host.config.run_dir, folder=world.folder)
    before, changed = host.config_path.read_text(), host.folder / "refused.yaml"
    edit(host, lambda document: document["components"][BUS]["needs"].update(sockets=[{"path": place, "why": "tries"}]))
    changed.write_text(host.config_path.read_text())
    host.config_path.write_text(before)
    done = host.cli("seal", config=changed)
    assert done.returncode == 78 and sentence in done.stderr and f"{changed}:" in done.stderr, done.stderr
