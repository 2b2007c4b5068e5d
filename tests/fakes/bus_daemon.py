"""A real bus of D-Bus in a folder, and services on it that note what reaches them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from tools.programs import need

BUS = "org.freedesktop.DBus"
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow eavesdrop="true"/>
<allow send_destination="*" eavesdrop="true"/></policy></busconfig>
"""


@contextmanager
def bus_daemon(path: Path, uids: Iterable[int] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run dbus-daemon(1) at a path, with a policy that allows everything.

    It closes the connection of a uid that has no name, so `uids` have one in the /etc/passwd that it sees.
    """
    config, passwd = path.with_suffix(".conf"), path.with_suffix(".passwd")
    config.write_text(CONFIG.format(path=path))
    command = [need("dbus-daemon"), "--nofork", "--print-address", f"--config-file={config}"]
    if os.geteuid() == 0:
        names = [f"tlsrt-{uid}:x:{uid}:{uid}::/:/usr/sbin/nologin\n" for uid in uids]
        passwd.write_text(Path("/etc/passwd").read_text() + "".join(names))
        own = 'mount --bind "$0" /etc/passwd && exec "$@"'
        command = [need("unshare"), "--mount", "--propagation=private", "sh", "-c", own, str(passwd), *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            assert str(path) in daemon.stdout.readline()
            path.chmod(0o666)
            yield daemon
        finally:
            daemon.terminate()


class BusServices:
    """Connections to a bus, each with a well-known name, in a thread: every method call is answered and noted."""

    def __init__(self, path: Path, *names: str) -> None:
        self.got: list[tuple[str, str, str, str]] = []  # type, interface, member, sender
        self._address = f"unix:path={path}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.buses = {name: self.run(self._connect(name)) for name in names}

    def run(self, what: Awaitable[Any]) -> Any:
        """Run a coroutine there, and return what it does."""

        async def wait() -> Any:
            return await what

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(10)

    async def _connect(self, name: str) -> MessageBus:
        bus = await MessageBus(bus_address=self._address).connect()
        await bus.request_name(name)
        match = "type='signal',interface='org.example.Attack'"
        await bus.call(
            Message(destination=BUS, path="/org/freedesktop/DBus", interface=BUS, member="AddMatch", signature="s",
                    body=[match])
        )  # fmt: skip
        bus.add_message_handler(self._note)
        return bus

    def _note(self, message: Message) -> Message | None:
        if message.sender == BUS or message.message_type not in (MessageType.METHOD_CALL, MessageType.SIGNAL):
            return None
        self.got.append(
            (message.message_type.name, message.interface or "", message.member or "", message.sender or "")
        )
        is_call = message.message_type is MessageType.METHOD_CALL
        return Message.new_method_return(message, "s", ["done"]) if is_call else None

    def emit(self, name: str, interface: str, member: str, destination: str | None = None) -> None:
        """Send a signal, to all or to one."""
        message = Message(
            message_type=MessageType.SIGNAL, path="/thing", interface=interface, member=member, destination=destination
        )
        self.run(self.buses[name].send(message))

    def settle(self) -> None:
        """Return when all that was sent before has been noted: the bus keeps the order of what one connection gets."""
        for bus in self.buses.values():
            message = Message(destination=BUS, path="/org/freedesktop/DBus", interface=BUS, member="GetId")
            self.run(bus.call(message))

    def close(self) -> None:
        """Disconnect, and end the thread."""
        for bus in self.buses.values():
            self.run(_leave(bus))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _leave(bus: MessageBus) -> None:
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
    assert bus._sock is not None
    bus._sock.close()
