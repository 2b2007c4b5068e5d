"""examples/devices on a running host: a real upowerd on a bus, a line that is unplugged, and uevents of the kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.bus_daemon import bus_daemon
from hosts.plugged_line import PTYS, Line
from hosts.running_host import RunningHost, uid_base
from tools.programs import need

from tlsrt import Client, Unavailable

PACKAGE = Path(__file__).parents[2] / "examples" / "devices" / "home_devices"
BATTERY, METER, PLUGGED, SCALE = "forth/battery", "third/meter", "primary/plugged", "third/scale"
UPOWERD = Path("/usr/libexec/upowerd")
UPOWER = "org.freedesktop.UPower"
UEVENT = Path("/sys/devices/virtual/mem/null/uevent")
PLUG_MS = 200  # two of five on a busy machine; 5 to 32 ms were measured, and 500 are the longest pause without a watch
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices and names of uids are root's")


def add(host: RunningHost, address: str, manifest: str, **decided: Any) -> None:
    """Write what `component add` writes for a component of the package."""
    folder = host.folder / "components.d"
    folder.mkdir(exist_ok=True)
    name = address.replace("/", ".")
    drop_in = {"package": PACKAGE.name, "manifest": manifest, "policy": {f"client/admin -> {address}": "*"}, **decided}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(drop_in))
    shutil.copyfile(PACKAGE / manifest, folder / f"{name}.manifest")


def is_ready(status: dict[str, Any], process: str) -> bool:
    [loop] = [loop for loop in status["loops"] if loop["name"] == process]
    return bool(loop["components"] and loop["components"][0]["ready"])


@pytest.fixture(scope="module")
def lines() -> Iterator[tuple[Line, Line]]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
    lines = Line(folder, "meter"), Line(folder, "scale")
    for line in lines:
        line.plug()
    yield lines
    for line in lines:
        line.unplug()
    folder.rmdir()


@pytest.fixture
def line(lines: tuple[Line, Line]) -> Line:
    return lines[0]


@pytest.fixture
def scale(lines: tuple[Line, Line]) -> Line:
    return lines[1]


@pytest.fixture(scope="module")
def upowerd() -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A bus and upowerd on it."""
    need("xdg-dbus-proxy")
    need("upower")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tlsrt-bus."))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        base = uid_base()
        stack.enter_context(bus_daemon(folder / "bus.sock", range(base, base + 512)))
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus.sock"}
        daemon = stack.enter_context(
            subprocess.Popen([UPOWERD], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        stack.callback(daemon.terminate)
        yield folder / "bus.sock", daemon


@pytest.fixture(scope="module")
def host(
    request: pytest.FixtureRequest, lines: tuple[Line, Line], upowerd: tuple[Path, subprocess.Popen[bytes]]
) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    host = RunningHost(packages=[PACKAGE], prelude=PTYS)
    bus = str(upowerd[0])
    try:
        (asked,) = yaml.safe_load((PACKAGE / "battery.tlsrt.yaml").read_text())["needs"]["buses"]
        options = {"bus": f"unix:path={bus}", "retry_s": 0.05}
        add(host, BATTERY, "battery.tlsrt.yaml", options=options, needs={"buses": [{**asked, "bus": bus}]})
        device = {"name": "line", "path": str(lines[0].path), "tty": {"baud": 9600}, "why": "the meter"}
        add(host, METER, "meter.tlsrt.yaml", needs={"devices": [device]})
        device = {**device, "path": str(lines[1].path), "why": "the scale"}
        add(host, SCALE, "scale.tlsrt.yaml", options={"retry_s": 0.05}, needs={"devices": [device], "threads": 2})
        add(host, PLUGGED, "plugged.tlsrt.yaml")
        sealed = host.cli("seal")
        assert sealed.returncode == 0, sealed.stderr
        host.start()
        host.until(lambda status: is_ready(status, "forth.battery"), "a battery that is ready")
        host.until(lambda status: is_ready(status, "third.meter"), "a meter that is ready")
        host.until(lambda status: is_ready(status, "third.scale"), "a scale that is ready")
        yield host
        if request.session.testsfailed > failed:
            host.print_logs()
    finally:
        host.close()


def until(what: Callable[[], Any], wanted: Any, limit_s: float = 10.0) -> float:
    """Ask until it is what is wanted; return how long that took."""
    began = time.monotonic()
    while what() != wanted:
        assert time.monotonic() < began + limit_s, what()
    return time.monotonic() - began


def test_the_battery_is_what_upowerd_says(host: RunningHost) -> None:
    with host.client() as client:
        state = client.call(BATTERY, "power")
        assert {"DaemonVersion", "OnBattery", "LidIsClosed"} <= state.keys()
        assert isinstance(client.call(BATTERY, "sources"), dict)
    pid = host.loop("forth.battery")["pid"]
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    interfaces = [line.partition(":")[0].strip() for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]]
    assert interfaces == ["lo"], "its network namespace is empty"


def test_the_meter_is_read_and_told(host: RunningHost, line: Line) -> None:
    with host.client() as client:
        os.write(line.master, b"power=1250\r\nvoltage=230.5\n")
        until(lambda: client.call(METER, "last"), {"power": 1250.0, "voltage": 230.5})
        client.call(METER, "tell", "report")
        assert os.read(line.master, 100) == b"report\n"


def test_the_meter_is_there_again_soon_after_it_was_plugged(host: RunningHost, line: Line) -> None:
    """From the link below /dev to the component: by inotify, and not with the next look of four in a second."""
    took_ms = []
    with host.client() as client:
        for value in map(float, range(5)):
            line.unplug()
            host.until(lambda status: not is_ready(status, "third.meter"), "the meter gone")
            line.plug()

            def read(value: float = value) -> float:
                os.write(line.master, f"power={value}\n".encode())  # what came before the line was set is gone
                return float(client.call(METER, "last")["power"])

            took_ms.append(1000 * until(read, value))
    print(f"plug to component: {[round(one, 1) for one in took_ms]} ms")
    assert sorted(took_ms)[1] < PLUG_MS, took_ms


def test_pyserial_as_it_is_opens_the_path_of_a_grant(host: RunningHost, scale: Line) -> None:
    with host.client() as client:
        os.write(scale.master, b"12.5\r\n")
        until(lambda: weight(client), 12.5)
        client.call(SCALE, "zero")
        assert os.read(scale.master, 100) == b"Z\r\n"


def test_pyserial_opens_it_again_when_it_was_plugged_again(host: RunningHost, scale: Line) -> None:
    with host.client() as client:
        scale.unplug()
        host.until(lambda status: not is_ready(status, "third.scale"), "the scale gone")
        scale.plug()

        def read() -> float | None:
            os.write(scale.master, b"7\n")  # what came before the line was open is thrown away
            return weight(client)

        until(read, 7.0)


def weight(client: Client) -> float | None:
    try:
        return float(client.call(SCALE, "weigh"))
    except Unavailable:
        return None


@pytest.mark.stress
def test_their_rates(host: RunningHost, line: Line) -> None:
    """One question of a client at a time; bench/MEASURED.md has the figures of one machine."""
    with host.client() as client:
        began = time.monotonic()
        for _ in range(500):
            assert "OnBattery" in client.call(BATTERY, "power")
        print(f"a question to upowerd: {500 / (time.monotonic() - began):.0f}/s")
        took = []
        for value in map(float, range(200)):
            began = time.monotonic()
            client.call(METER, "tell", "report")
            assert os.read(line.master, 100) == b"report\n"
            os.write(line.master, f"power={value}\n".encode())
            until(lambda: client.call(METER, "last")["power"], value)
            took.append(1000 * (time.monotonic() - began))
        print(f"a question to the meter and its answer: p50 {sorted(took)[100]:.2f}, p99 {sorted(took)[198]:.2f} ms")


def test_what_is_plugged_is_told(host: RunningHost) -> None:
    with host.client() as client:
        UEVENT.write_text("add")
        until(lambda: [one["name"] for one in client.call(PLUGGED, "recent")][-1:], ["null"])


def test_no_library_did_what_is_refused(host: RunningHost) -> None:
    status = host.status()
    wanted = ("forth.battery", "third.meter", "primary.plugged", "third.scale")
    assert {loop["name"]: loop["violations"] for loop in status["loops"] if loop["name"] in wanted} == dict.fromkeys(
        wanted, 0
    )
