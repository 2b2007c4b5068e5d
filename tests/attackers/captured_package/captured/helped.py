"""A component that has a device and settings, and one that says what the runtime never would."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tlsrt import Component, MisuseError, handler
from tlsrt.loops.runtime.process import LoopProcess


class Helped(Component):
    """Uses what it is granted."""

    async def start(self) -> None:
        self.heard = b""
        self.came = 0
        self.uevents: list[tuple[float, str, str]] = []
        self.told: list[tuple[float, Any]] = []
        self.first_states = await self.runtime.states() if self.options.get("lists") else {}
        if self.options.get("hears"):
            self.spawn(self._hear)
        if self.options.get("hears_pressure"):
            self.spawn(self._hear_pressure)
        if self.options.get("hears_log"):
            self.spawn(self._hear_log)
        if self.options.get("hears_network"):
            self.spawn(self._hear_network)
        self.task = asyncio.create_task(self._listen()) if self.options.get("listens") else None

    async def _listen(self) -> None:
        async for data in self.device("line"):
            self.heard += data

    async def _hear(self) -> None:
        async for event in self.host_events("uevents"):
            self.uevents.append((time.monotonic(), event.action, event.devpath))

    async def _hear_pressure(self) -> None:
        async for event in self.host_events("pressure"):
            self.told.append((time.monotonic(), [event.resource, event.stall, event.avg10, event.total_us]))

    async def _hear_log(self) -> None:
        async for record in self.host_events("kernel_log"):
            self.told.append((time.monotonic(), [record.text, record.level, record.facility, record.dropped]))

    async def _hear_network(self) -> None:
        async for change in self.host_events("network"):
            row = [change.what, change.removed, change.interface, change.address, change.up, change.dropped]
            self.told = [*self.told[-2000:], (time.monotonic(), row)]

    @handler
    async def hears(self, kind: str) -> bool:
        """Tell whether it may hear events of a kind."""
        try:
            self.host_events(kind)  # type: ignore[call-overload]
        except MisuseError:
            return False
        return True

    @handler
    async def what_was_told(self) -> list[tuple[float, Any]]:
        return self.told

    @handler
    async def uevents_heard(self) -> list[tuple[float, str, str]]:
        return self.uevents

    @handler
    async def write_setting(self, name: str, value: int | str) -> str:
        await self.set(name, value)
        return "done"

    @handler
    async def undo_setting(self, name: str, value: int | str) -> str:
        await self.unset(name, value)
        return "done"

    @handler
    async def heard_so_far(self) -> str:
        return self.heard.decode()

    @handler
    async def line(self) -> dict[str, int]:
        """What is known of the device."""
        line = self.device("line")
        return {"present": int(line.is_present), "connections": line.connections}

    @handler
    async def say(self, text: str) -> int:
        await self.device("line").present()
        await self.device("line").write(text.encode())
        return self.device("line").connections

    @handler
    async def reconfigure(self) -> int:
        """Try to change the line that is open; return the errno."""
        try:
            fcntl.ioctl(self.device("line").fileno(), 0x402C542B, bytes(44))
        except OSError as error:
            return error.errno or 0
        return 0

    @handler
    async def open_it(self, path: str) -> int:
        """Try to open a path; return the errno."""
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError as error:
            return error.errno or 0
        return 0

    @handler
    async def ask(self, what: int, grant: int, value: int, times: int = 1, high: int = 0, choice: int = 0) -> str:
        """Say on the life channel what a captured process would."""
        for number in range(times):
            _process()._life.send("ask", 1000 + number, what, grant, value, high, choice)
        return "sent"

    @handler
    async def report(self, name: str, often: int = 1) -> str:
        """Report an anomaly, as a component does."""
        for _ in range(often):
            self.alert(name)
        return "reported"

    @handler
    async def have(self, act: str, target: str = "", within_s: float = 0) -> str:
        """Have the runtime do something, as a component does."""
        await self._tlsrt_grants.runtime_do(act, target, within_s)
        return "done"

    @handler
    async def states_at_start(self) -> dict[str, str]:
        return self.first_states

    @handler
    async def states(self) -> dict[str, str]:
        return await self.runtime.states()

    @handler
    async def archive(self, most: int = 1 << 30) -> AsyncIterator[bytes]:
        """Say what the runtime gives of itself, up to so many bytes; then it reads no more."""
        said = 0
        with await self.runtime.backup() as archive:
            for piece in archive.pieces():
                said += len(piece)
                yield piece
                if said >= most:
                    break

    @handler
    async def say_runtime(
        self, right: int, often: int = 1, value: int = 0, subject: bytes = b"", asker: bytes = b""
    ) -> str:
        """Say on the life channel what a captured process would."""
        for number in range(often):
            _process()._life.send("ask_runtime", 1000 + number, right, value, subject, asker)
        return "sent"

    @handler
    async def log_names(self, kind: str, most: int = 96) -> list[tuple[str, bool, int]]:
        """Name, part and size of the files that it may read."""
        ask = {"audit": self.runtime.audit_files, "logs": self.runtime.log_files}
        files = await ask[kind](most) if kind in ask else [await self.runtime.status_file()]
        return [(file.name, file.is_earlier, file.size) for file in files]

    @handler
    async def tail_of(self, kind: str, name: str) -> str:
        """The last bytes of one of them, as a component reads it."""
        files = await (self.runtime.audit_files() if kind == "audit" else self.runtime.log_files())
        found = next(file for file in files if file.name == name and not file.is_earlier)
        return found.read(4096, max(0, found.size - 4096)).decode(errors="replace")

    @handler
    async def spoil(self, kind: str) -> dict[str, str]:
        """Try all that could change a file by a descriptor that it holds; return how each ended."""
        ask = {"audit": self.runtime.audit_files, "logs": self.runtime.log_files}
        files = await ask[kind](1) if kind in ask else [await self.runtime.status_file()]
        held = files[0]._descriptor
        return {
            "write": _outcome(lambda: os.pwrite(held, b"x", 0)), "truncate": _outcome(lambda: os.ftruncate(held, 0)),
            "mode": _outcome(lambda: os.fchmod(held, 0o777)), "owner": _outcome(lambda: _own(held)),
            "open": _outcome(lambda: os.open(f"/proc/self/fd/{held}", os.O_RDWR)),
            "up": _outcome(lambda: os.open("..", os.O_RDONLY, dir_fd=held)),
        }  # fmt: skip

    @handler
    async def flood_runtime(self, right: int, often: int) -> int:
        """Say so often on the life channel what a captured process would; return how many files come in a second."""
        door, came = _process().grants._runtime, [0]
        taken = door.file_came

        def count(message: Any, descriptor: int) -> None:
            came[0] += 1
            taken(message, descriptor)

        door.file_came = count
        for number in range(often):
            _process()._life.send("ask_runtime", 9000 + number, right, 0, b"", b"")
        await asyncio.sleep(1)
        return came[0]

    @handler
    async def say_alert(self, alert: int, times: int, often: int = 1) -> str:
        """Say on the life channel what a captured process would."""
        for _ in range(often):
            _process()._life.send("alert", alert, times)
        return "sent"


def _own(descriptor: int) -> None:
    """Take a file; a call that is answered and does nothing has not."""
    os.fchown(descriptor, os.getuid(), -1)
    if os.fstat(descriptor).st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "it belongs to another user still")


def _outcome(act: Callable[[], Any]) -> str:
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def _process() -> Any:
    return next(one for one in gc.get_objects() if isinstance(one, LoopProcess))
