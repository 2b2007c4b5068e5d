"""Settings and devices of a running host: done by the helper, within what is granted, and in the audit log first."""

from __future__ import annotations

import errno
import glob
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running

from tlsrt.errors import CallError, InvalidArgument, OutcomeUnknown, Unavailable

HELPED, OTHER, PRESSED, METER = "third/helped", "forth/other", "third/pressed", "third/meter"
SCRIPT = """while read -r word; do
    [ "$word" = end ] && exit
    echo "heard $word" >&2; echo "you said $word"
done
"""
PRESSURE = {"kind": "pressure", "resource": "cpu", "ms": 10, "why": "a test"}
LOG = {"kind": "kernel_log", "prefixes": ["tlsrt-test "], "level": "info", "programs": True, "why": "a test"}
STAT = Path("/proc/sys/vm/stat_interval")
DISKS = os.listdir("/sys/class/bdi")
BDI = next(  # the limit of one disk, as a pattern that only its folder fits
    f"/sys/class/bdi/{name[:-1]}?/max_ratio" for name in DISKS
    if [other[:-1] for other in DISKS if len(other) == len(name)].count(name[:-1]) == 1
)  # fmt: skip
# No component gets the terminal of a person, and a pty is the one line that a test can plug and unplug.
PTYS = "import tlsrt.supervisor.process.host_paths as paths; del paths.REFUSED_DRIVERS['pts']"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="settings of the kernel and devices are root's")


class Plug:
    """A pty whose end for the component is found by a link below /dev, as that of a plugged device."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
        self.path = self.folder / "line"
        self.master = -1

    def plug(self) -> None:
        self.master, inside = pty.openpty()
        name = os.ttyname(inside)
        self.path.symlink_to(f"../pts/{Path(name).name}")
        self.kept = inside  # so that it hangs up only when it is unplugged

    def unplug(self) -> None:
        self.path.unlink()
        os.close(self.kept)
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self.master >= 0:
            self.unplug()
        self.folder.rmdir()


@pytest.fixture(scope="module")
def plug() -> Iterator[Plug]:
    plug = Plug()
    plug.plug()
    yield plug
    plug.close()


@pytest.fixture(scope="module")
def second() -> Iterator[Plug]:
    plug = Plug()
    plug.plug()
    yield plug
    plug.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, plug: Plug, second: Plug) -> Iterator[RunningHost]:
    before = STAT.read_text()
    stat = {"name": "stat", "path": str(STAT), "values": "1-3", "why": "a test"}
    ratio = {"name": "ratio", "path": BDI, "values": "99, 100", "why": "a test"}
    line = {"name": "line", "path": str(plug.path), "tty": {"baud": 115200}, "why": "a test"}
    yield from running(
        request, packages=[PACKAGE], prelude=LatePrelude(PTYS),
        components={
            HELPED: {
                "class": "captured.helped:Helped", "options": {"listens": True, "hears": True},
                "needs": {"settings": [stat, ratio], "devices": [line],
                          "events": [{"kind": "uevents", "why": "a test"}]},
            },
            OTHER: {"class": "captured.helped:Helped", "options": {"hears_log": True}, "needs": {"events": [LOG]}},
            METER: {
                "kind": "program", "run": "/bin/sh", "args": ["/etc/meter.sh"], "files": {"/etc/meter.sh": SCRIPT},
                "needs": {"devices": [line | {"path": str(second.path), "tty": {"baud": 9600}}]},
            },
            PRESSED: {"class": "captured.helped:Helped", "options": {"hears_pressure": True},
                      "needs": {"events": [PRESSURE]}},
        },
        policy={f"client/admin -> {one}": "*" for one in (HELPED, OTHER, PRESSED)},
    )  # fmt: skip
    STAT.write_text(before)


def test_a_setting_is_written_and_the_audit_log_has_it(host: RunningHost) -> None:
    assert host.client().call(HELPED, "write_setting", "stat", 2) == "done"
    assert STAT.read_text() == "2\n"
    host.told(HELPED, str(STAT), "value=2", by=("audit", "tail"))


def test_what_the_audit_log_has_not_taken_is_not_done(host: RunningHost) -> None:
    client = host.client()
    assert client.call(HELPED, "write_setting", "stat", 1) == "done"
    before = host.kill("authority", signal.SIGSTOP)
    with pytest.raises((Unavailable, OutcomeUnknown)):  # the latter: its answer met another authority's session
        client.call(HELPED, "write_setting", "stat", 3)
    assert STAT.read_text() == "1\n"
    host.until(lambda document: document["authority"]["pid"] not in (None, before), "another authority")
    host.until(lambda document: document["authority"]["state"] == "active", "an active authority")
    client = host.client()
    assert client.call(HELPED, "write_setting", "stat", 3) == "done"
    records = host.told(HELPED, str(STAT), "value=3", by=("audit", "tail"))
    assert len([line for line in records.splitlines() if "value=3" in line]) == 1, "the one that was made"


def test_a_pattern_leads_to_the_one_file_that_fits(host: RunningHost) -> None:
    (ratio,) = glob.glob(BDI)
    assert host.client().call(HELPED, "write_setting", "ratio", 99) == "done"
    try:
        assert Path(ratio).read_text() == "99\n"
    finally:
        Path(ratio).write_text("100")


def test_a_value_outside_its_range_is_refused_with_the_range(host: RunningHost) -> None:
    with pytest.raises(InvalidArgument, match="1-3"):
        host.client().call(HELPED, "write_setting", "stat", 4)


def test_a_component_has_the_settings_of_no_other(host: RunningHost) -> None:
    with pytest.raises(CallError):
        host.client().call(OTHER, "write_setting", "stat", 1)


def test_a_line_is_set_outside_and_what_it_says_is_heard(host: RunningHost, plug: Plug) -> None:
    host.until(lambda document: _device(host)["state"] == "present", "the device")
    speeds = struct.unpack("=4IB19s2I", ioctl(plug.kept, 0x802C542A, bytes(44)))[6:]
    assert speeds == (115200, 115200) and not termios.tcgetattr(plug.kept)[3] & (termios.ECHO | termios.ICANON)
    os.write(plug.master, b"hello")
    _until_heard(host, "hello")
    assert host.client().call(HELPED, "say", "back") == 1
    assert os.read(plug.master, 100) == b"back"


def test_the_component_can_neither_set_the_line_nor_open_a_device(host: RunningHost, plug: Plug) -> None:
    assert host.client().call(HELPED, "reconfigure") == errno.EPERM
    assert host.client().call(HELPED, "open_it", os.path.realpath(plug.path)) in (errno.ENOENT, errno.EACCES)


def test_a_line_that_was_unplugged_goes_on_when_it_is_there_again(host: RunningHost, plug: Plug) -> None:
    plug.unplug()
    host.until(lambda document: _device(host)["state"] == "absent", "its absence")
    assert host.client().call(HELPED, "line")["present"] == 0
    plug.plug()
    host.until(lambda document: _device(host)["state"] == "present", "the device again")
    os.write(plug.master, b" again")
    _until_heard(host, "hello again")
    assert host.client().call(HELPED, "line") == {"present": 1, "connections": 2}


def test_the_device_of_a_program_is_its_standard_input_and_output(host: RunningHost, second: Plug) -> None:
    def is_ready(document: object) -> bool:
        return bool(host.loop("third.meter")["components"][0]["ready"])

    def asked(word: bytes) -> bytes:
        os.write(second.master, word + b"\n")
        return _line_of(second)

    host.until(is_ready, "a program that is ready")
    assert asked(b"hello") == b"you said hello\n"
    host.until(lambda _: "main #1: heard hello" in host.log("third.meter"), "what came by another pipe")
    second.unplug()
    host.until(lambda document: not is_ready(document), "its absence")
    assert "its device line is not there" in host.log("third.meter")
    second.plug()
    host.until(is_ready, "the device again")
    assert asked(b"again") == b"you said again\n"
    (program,) = host.loop("third.meter")["programs"]
    assert (program["begun"], len(program["running"])) == (1, 1), "the program went on"
    os.write(second.master, b"end\n")
    before = program["running"][0]["pid"]

    def is_begun_again(document: object) -> bool:
        (program,) = host.loop("third.meter")["programs"]
        return bool(program["running"]) and program["running"][0]["pid"] != before

    host.until(is_begun_again, "the next run")
    assert asked(b"at last") == b"you said at last\n"
    assert host.loop("third.meter")["violations"] == 0


def test_a_uevent_of_the_kernel_is_heard(host: RunningHost) -> None:
    client, before = host.client(), time.monotonic()
    Path("/sys/class/mem/null/uevent").write_text("change")
    heard: list[list[Any]] = []

    def has_come(document: object) -> bool:
        heard[:] = [one for one in client.call(HELPED, "uevents_heard") if one[2] == "/devices/virtual/mem/null"]
        return bool(heard)

    host.until(has_come, "the uevent")
    assert heard[0][1] == "change" and heard[0][0] - before < 1.0, heard
    print(f"a uevent was heard after {(heard[0][0] - before) * 1000:.2f} ms")


@pytest.mark.skipif(not os.path.exists("/proc/pressure/cpu"), reason="this kernel tells no pressure")
def test_pressure_is_heard_while_tasks_wait(host: RunningHost) -> None:
    client = host.client()
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 1) + 2)]
    try:
        host.until(lambda document: bool(client.call(PRESSED, "what_was_told")), "the pressure")
    finally:
        for one in burning:
            one.kill()
            one.wait()
    resource, stall, share, total = client.call(PRESSED, "what_was_told")[0][1]
    assert (resource, stall) == ("cpu", "some") and 0 <= share <= 100 and total > 0


def test_the_log_of_the_kernel_is_heard(host: RunningHost) -> None:
    client, before = host.client(), time.monotonic()
    Path("/dev/kmsg").write_text("<6>tlsrt-test hello\n")
    host.until(lambda document: bool(client.call(OTHER, "what_was_told")), "the record")
    at, told = client.call(OTHER, "what_was_told")[0]
    assert told == ["tlsrt-test hello", 6, 1, 0] and at - before < 1.0, told
    print(f"a record of the log was heard after {(at - before) * 1000:.2f} ms")


def test_what_is_granted_is_explained(host: RunningHost) -> None:
    shown = host.cli("sandbox", "show", "third.helped").stdout
    assert all(word in shown for word in ("GRANTS", "device line", "setting stat", "events uevents"))
    assert host.cli("sandbox", "explain", "third.helped", str(STAT)).returncode == 0
    assert host.cli("sandbox", "explain", "forth.other", str(STAT)).returncode != 0
    assert "hear what it tells" in host.cli("sandbox", "explain", "forth.other", "/dev/kmsg").stdout
    assert "log of the kernel and programs" in host.cli("sandbox", "show", "forth.other").stdout
    assert "uid 0" in host.cli("sandbox", "show", "helper").stdout and "helper: active" in host.cli("status").stdout


def test_the_helper_is_shown_and_comes_again(host: RunningHost) -> None:
    helper = host.status()["helper"]
    assert helper["state"] == "active" and "landlock_sealed" in helper["sandbox"]["layers"]
    os.kill(helper["pid"], 9)
    host.until(lambda document: document["helper"]["pid"] not in (None, helper["pid"]), "the next helper")
    host.until(lambda document: document["helper"]["state"] == "active", "an active helper")
    assert host.client().call(HELPED, "write_setting", "stat", 1) == "done"


def _device(host: RunningHost) -> dict[str, str]:
    return next(iter(host.loop("third.helped")["devices"]))


def _until_heard(host: RunningHost, text: str) -> None:
    client = host.client()
    host.until(lambda document: client.call(HELPED, "heard_so_far") == text, text)


def _line_of(plug: Plug) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        found += os.read(plug.master, 100)
    return found
