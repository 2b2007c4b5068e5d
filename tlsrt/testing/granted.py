"""Devices and events of the host for a component in a test: the test plugs in, says, hears and lets happen."""

from __future__ import annotations

import asyncio
import os
import pty
from collections import ChainMap
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fcntl import ioctl  # the real one: what stands in for it meanwhile sets no device
from typing import Literal

from tlsrt.channels.control.host_event import Uevent
from tlsrt.channels.control.kernel_record import KernelRecord
from tlsrt.channels.control.network_change import NetworkChange
from tlsrt.channels.control.pressure import Pressure
from tlsrt.channels.control.process_table import ProcessTable
from tlsrt.config.devices import DeviceConfig, TtyConfig
from tlsrt.errors import MisuseError
from tlsrt.loops.component.device import Device, arrive
from tlsrt.loops.component.grants import NoGrants
from tlsrt.loops.component.host_events import HostEvent, HostEventFeed
from tlsrt.loops.runtime.device_lines import DeviceLines
from tlsrt.loops.runtime.device_paths import DevicePaths
from tlsrt.supervisor.helper.tty import SIZE, TCGETS2, TCSETS2, Line, configured


class FakeDevice:
    """The other end of a device: a pseudo terminal, set as `tty: {baud: ...}` would be.

        line = FakeDevice(path="/dev/ttyUSB0", baud=9600)
        async with running(Meter, devices={"line": line}) as meter:
            line.say(b"power=1250\\r\\n")
            await meter.call("tell", "report")
            assert await line.heard() == b"report\\n"

    It is plugged in when the component starts, unless the test says `plugged=False`. A library that opens `path` gets
    it too, as on a host.
    """

    def __init__(
        self, *, path: str = "", baud: int = 0, mode: Literal["r", "rw"] = "rw", plugged: bool = True
    ) -> None:  # fmt: skip
        self.path = path
        self.lost = 0  # how often the component has noticed that it was away
        self._baud = baud
        self._mode: Literal["r", "rw"] = mode
        self._plugged = plugged
        self._device: Device | None = None
        self._end = -1
        self._loop: asyncio.AbstractEventLoop

    def plug(self) -> None:
        """Plug it in; a component that runs has it at once."""
        if self._device is None or self._end >= 0:
            raise MisuseError("a device can be plugged in while its component runs, and once at a time")
        self._end, line = pty.openpty()
        for descriptor in (self._end, line):
            os.set_blocking(descriptor, False)
        try:
            settings = ioctl(line, TCGETS2, bytes(SIZE))
            ioctl(line, TCSETS2, configured(settings, Line(self._baud, 1, 8, 0, 1, 0)))
        except BaseException:
            os.close(line)
            raise
        if asyncio._get_running_loop() is None:  # in a test that is no coroutine
            self._loop.call_soon(arrive, self._device, line)
        else:
            arrive(self._device, line)

    def unplug(self) -> None:
        """Pull it out: the component notices when it reads or writes, and a library gets an error."""
        os.close(self._plugged_end())
        self._end = -1

    def say(self, data: bytes) -> None:
        """Say something to the component, at most some 4 KiB that it has not read."""
        if os.write(self._plugged_end(), data) != len(data):
            raise MisuseError("the component has not read what was said before: say less")

    async def heard(self, most: int = 65536) -> bytes:
        """Return what the component has written, at least one byte."""
        while True:
            end = self._plugged_end()
            try:
                return os.read(end, most)
            except BlockingIOError:
                await _readable(end)

    def _plugged_end(self) -> int:
        if self._end < 0:
            raise MisuseError("the device is not plugged in")
        return self._end

    def begin(self, name: str) -> tuple[DeviceConfig, Device]:
        """Make the component's side; the runtime of tests does this."""
        self.path = self.path or f"/dev/{name}"
        self._loop = asyncio.get_running_loop()
        self._device = Device(name, self._mode, self._on_lost, self.path)
        if self._plugged:
            self.plug()
        return DeviceConfig(name, self.path, "a test", self._mode, TtyConfig(baud=self._baud)), self._device

    def end(self) -> None:
        """Close what is open."""
        if self._end >= 0:
            self.unplug()
        if self._device is not None and self._device.is_present:
            os.close(self._device.fileno())
        self._device = None

    def _on_lost(self) -> None:
        self.lost += 1


_KIND_OF: Mapping[type[HostEvent], str] = {
    Uevent: "uevents", Pressure: "pressure", KernelRecord: "kernel_log", NetworkChange: "network",
    ProcessTable: "processes",
}  # fmt: skip


class FakeEvents:
    """Events of the host: `events.happen(Uevent("add", "tty", "/devices/x", "ttyUSB0"))`.

    `alerts` are the names of those that the component has reported.
    """

    def __init__(self) -> None:
        self.alerts: list[str] = []
        self._feeds: dict[str, HostEventFeed] = {kind: HostEventFeed() for kind in _KIND_OF.values()}

    def happen(self, event: HostEvent) -> None:
        """Tell the component, if it listens to such events by now."""
        self._feeds[_KIND_OF[type(event)]].take(event)

    def follow(self, kind: str) -> AsyncIterator[HostEvent]:
        """Return what happens from now on. Raises MisuseError for a kind that there is not."""
        if kind not in self._feeds:
            raise MisuseError(f"there are no events {kind!r} of the host: {', '.join(self._feeds)}")
        return self._feeds[kind].follow()


_by_path: ChainMap[str, Device] = ChainMap()  # of all components that run in this process, the last one first
_lines: list[tuple[DeviceConfig, Device]] = []
_paths = DevicePaths(_by_path, DeviceLines(_lines))


@contextmanager
def _stand_in(made: list[tuple[DeviceConfig, Device]]) -> Iterator[None]:
    """Let libraries open these devices, beside those of other components: tests may end them in any order."""
    own = {device.path: device for _, device in made}
    _by_path.maps.insert(0, own)
    _lines[:0] = made
    _paths.install()
    try:
        yield
    finally:
        _by_path.maps[:] = [one for one in _by_path.maps if one is not own]
        _lines[:] = [one for one in _lines if one not in made]
        if not _by_path:
            _paths.remove()


class FakeGrants(NoGrants):
    """What a test grants a component, from its start to its end."""

    def __init__(self, devices: Mapping[str, FakeDevice], events: FakeEvents | None) -> None:
        self._events = events
        self._devices: dict[str, Device] = {}
        with ExitStack() as undoing:
            made: list[tuple[DeviceConfig, Device]] = []
            for name, fake in devices.items():
                undoing.callback(fake.end)
                made.append(fake.begin(name))
                self._devices[name] = made[-1][1]
            undoing.enter_context(_stand_in(made))
            self._ending = undoing.pop_all()

    def close(self) -> None:
        """End all of it."""
        self._ending.close()

    def device(self, name: str) -> Device:
        return self._devices.get(name) or super().device(name)

    def host_events(self, kind: str) -> AsyncIterator[HostEvent]:
        return super().host_events(kind) if self._events is None else self._events.follow(kind)

    def alert(self, name: str) -> None:
        if self._events is None:
            super().alert(name)
        else:
            self._events.alerts.append(name)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
