"""What stands in for the calls of libraries that open a device and set its line, with a real pty and pyserial."""

from __future__ import annotations

import asyncio
import builtins
import errno
import fcntl
import io
import os
import pty
import shutil
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from tlsrt.config.devices import DeviceConfig, TtyConfig
from tlsrt.loops.component.device import Device, arrive
from tlsrt.loops.runtime.device_lines import DeviceLines, unlike
from tlsrt.loops.runtime.device_paths import DevicePaths
from tlsrt.supervisor.helper.tty import SIZE, TCGETS2, TCSETS2, Line, configured

PATH = "/dev/serial/by-id/usb-scale"


class Plugged:
    """A grant of a pty, set by the helper's own code."""

    def __init__(self, mode: Any = "rw", **tty: Any) -> None:
        self.config = DeviceConfig("line", PATH, "a test", mode, TtyConfig(**tty) if tty else TtyConfig(baud=-1))
        self.lost = 0
        self.device = Device("line", mode, self._lost, PATH)
        self.paths = DevicePaths({PATH: self.device}, DeviceLines([(self.config, self.device)]))
        self.master = -1

    def _lost(self) -> None:
        self.lost += 1

    def plug(self) -> None:
        self.master, line = pty.openpty()
        os.set_blocking(line, False)
        if (baud := self.config.tty.baud) >= 0:
            settings = fcntl.ioctl(line, TCGETS2, bytes(SIZE))
            fcntl.ioctl(line, TCSETS2, configured(settings, Line(baud, 1, 8, 0, 1, 0)))
        arrive(self.device, line)

    def unplug(self) -> None:
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        self.paths.remove()
        for one in (self.master, self.device.descriptor):
            if one >= 0:
                os.close(one)


@pytest.fixture
def line() -> Iterator[Plugged]:
    line = Plugged(baud=115200)
    line.paths.install()
    yield line
    line.close()


def test_pyserial_reads_writes_and_asks(line: Plugged) -> None:
    async def use() -> None:
        line.plug()
        with serial.Serial(PATH, 115200, timeout=5, exclusive=True) as port:
            os.write(line.master, b"12.5\r\n")
            assert port.readline() == b"12.5\r\n"
            port.write(b"Z")
            port.flush()
            assert os.read(line.master, 10) == b"Z"
            os.write(line.master, b"old")
            port.reset_input_buffer()
            port.reset_output_buffer()
            assert port.in_waiting == 0
            port.rts = port.dtr = True
        assert os.fstat(line.device.fileno())  # it closed its copy

    asyncio.run(use())


@pytest.mark.parametrize("baud", [9600, 19200])
def test_another_speed_than_granted_is_an_error_that_says_what_to_write(line: Plugged, baud: int) -> None:
    async def use() -> None:
        line.plug()
        with pytest.raises(termios.error, match=f"{PATH} cannot be set from within: its entry says another baud"):
            serial.Serial(PATH, baud)

    asyncio.run(use())


def test_a_speed_without_a_name(line: Plugged) -> None:
    other = Plugged(baud=250000)

    async def use() -> None:
        line.paths.remove()
        other.paths.install()
        other.plug()
        try:
            with serial.Serial(PATH, 250000) as port:
                port.write(b"x")
            with pytest.raises((PermissionError, ValueError)):
                serial.Serial(PATH, 260000)
        finally:
            other.close()

    asyncio.run(use())


def test_settings_beside_a_speed_without_a_name_are_compared_too() -> None:
    line = Plugged(baud=250000)
    line.paths.install()

    async def use() -> None:
        line.plug()
        copy = os.open(PATH, os.O_RDWR)
        now = fcntl.ioctl(copy, TCGETS2, bytes(SIZE))
        fcntl.ioctl(copy, TCSETS2, now)
        for place, bits, key in (
            (0, termios.IXON, "flow"),
            (2, termios.CSTOPB, "stop_bits"),
            (3, termios.ICANON, "raw"),
        ):
            wanted = [one ^ bits if index == place else one for index, one in enumerate(struct.unpack("=11I", now))]
            with pytest.raises(PermissionError, match=f"its entry says another {key} under `tty`"):
                fcntl.ioctl(copy, TCSETS2, struct.pack("=11I", *wanted))
        os.close(copy)

    try:
        asyncio.run(use())
    finally:
        line.close()


def test_a_line_that_nobody_has_set_says_so() -> None:
    line = Plugged()
    line.paths.install()

    async def use() -> None:
        line.plug()
        with pytest.raises(termios.error, match=r"put `tty: \{baud: ...\}` into its entry"):
            serial.Serial(PATH, 115200)

    try:
        asyncio.run(use())
    finally:
        line.close()


def test_a_request_to_the_driver_is_refused_and_does_not_reach_it(line: Plugged) -> None:
    async def use() -> None:
        line.plug()
        copy = os.open(PATH, os.O_RDWR)
        for request in (termios.TIOCSTI, termios.TIOCMBIC, termios.TIOCSETD, 0x0703):
            with pytest.raises(PermissionError, match=f"no request reaches the driver of {PATH}"):
                fcntl.ioctl(copy, request, b"\x02\0\0\0")
        os.close(copy)

    asyncio.run(use())


def test_it_is_not_there_then_there_then_another_one(line: Plugged) -> None:
    async def use() -> None:
        with pytest.raises(FileNotFoundError):
            os.open(PATH, os.O_RDWR)
        line.plug()
        first = os.open(PATH, os.O_RDWR)
        line.unplug()
        with pytest.raises(serial.SerialException, match="could not open port"):
            serial.Serial(PATH, 115200)
        await asyncio.sleep(0)
        assert line.lost == 1 and not line.device.is_present
        line.plug()
        second = os.open(PATH, os.O_RDWR)
        os.write(line.master, b"new")
        assert os.read(second, 10) == b"new"
        os.close(first)
        os.close(second)

    asyncio.run(use())


def test_from_a_thread(line: Plugged) -> None:
    async def use() -> None:
        line.plug()
        line.unplug()

        def look() -> None:
            with pytest.raises(FileNotFoundError):
                os.open(PATH, os.O_RDWR)

        await asyncio.to_thread(look)
        await asyncio.sleep(0)
        assert line.lost == 1

    asyncio.run(use())
    assert threading.active_count() == 1


def test_open_and_path_and_bytes(line: Plugged) -> None:
    async def use() -> None:
        line.plug()
        os.write(line.master, b"abc\n")
        with Path(PATH).open("rb", buffering=0) as file:
            assert file.read(10) == b"abc\n"
        with open(os.fsencode(PATH), "wb", buffering=0) as file:
            file.write(b"x")
        assert os.read(line.master, 10) == b"x"
        with pytest.raises(ValueError, match="mode"):
            Path(PATH).open("q")  # noqa: SIM115

    asyncio.run(use())


def test_what_is_granted_to_read_is_not_opened_to_write() -> None:
    line = Plugged("r")
    line.paths.install()

    async def use() -> None:
        line.plug()
        os.close(os.open(PATH, os.O_RDONLY))
        for flags in (os.O_RDWR, os.O_WRONLY):
            with pytest.raises(PermissionError, match="mode: rw"):
                os.open(PATH, flags)
        with pytest.raises(PermissionError, match="mode: rw"):
            Path(PATH).write_bytes(b"")

    try:
        asyncio.run(use())
    finally:
        line.close()


def test_everything_else_is_as_it_was(line: Plugged, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("text")
    folder = os.open(tmp_path, os.O_RDONLY)
    with os.fdopen(os.open("x", os.O_RDONLY, dir_fd=folder)) as found:
        assert found.read() == "text"
    os.close(folder)
    with open(file, "r+") as found:
        fcntl.flock(found, fcntl.LOCK_EX)
        fcntl.lockf(found, fcntl.LOCK_EX)
    with pytest.raises(TypeError):
        open(1.5)  # type: ignore[call-overload]  # noqa: SIM115
    with pytest.raises(OSError, match="Bad file descriptor"):
        fcntl.ioctl(999, termios.FIONREAD, b"\0\0\0\0")
    for call in (termios.tcdrain, lambda one: termios.tcflush(one, termios.TCIFLUSH)):
        with open("/dev/null") as null, pytest.raises(termios.error) as refused:
            call(null)
        assert refused.value.args[0] == errno.ENOTTY
    assert os.open in os.supports_dir_fd
    shutil.rmtree(tmp_path)
    line.paths.remove()
    assert (os.open, builtins.open, io.open) == (os.open, io.open, builtins.open)
    assert os.open.__module__ in ("posix", "builtins")


def test_without_devices_nothing_is_replaced() -> None:
    before = os.open
    DevicePaths({}, DeviceLines([])).install()
    assert os.open is before


def test_what_differs_is_named_as_the_manifest_names_it() -> None:
    master, line = pty.openpty()
    fcntl.ioctl(line, TCSETS2, configured(fcntl.ioctl(line, TCGETS2, bytes(SIZE)), Line(9600, 1, 8, 0, 1, 0)))
    now = termios.tcgetattr(line)
    os.close(master)
    os.close(line)
    assert unlike(now, now) == []

    def changed(place: int, bits: int) -> list[Any]:
        return [one ^ bits if index == place else one for index, one in enumerate(now)]

    assert unlike(now, changed(2, termios.PARENB)) == ["parity"]
    assert unlike(now, changed(2, termios.PARODD)) == []  # of a parity that is none
    assert unlike(now, changed(2, termios.CSTOPB)) == ["stop_bits"]
    assert unlike(now, changed(2, termios.CS7 ^ termios.CS8)) == ["bits"]
    assert unlike(now, changed(2, termios.CRTSCTS)) == ["flow"]
    assert unlike(now, changed(0, termios.IXON)) == ["flow"]
    assert unlike(now, changed(3, termios.ICANON)) == ["raw"]
    assert unlike(now, [*now[:4], termios.B300, termios.B300, now[6]]) == ["baud"]
    assert struct.calcsize("=4IB19s2I") == SIZE
