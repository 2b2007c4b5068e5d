"""What a service manager hands to the launcher, and the way back to it: sd_notify(3), sd_listen_fds(3).

The launcher is the process that systemd started, so a unit with `NotifyAccess=main` hears the launcher only. It takes
NOTIFY_SOCKET and its like out of the environment, and passes on what the supervisor writes into a socket pair: no
other process ever has the address of the manager. SIGIO says that there is something to pass on, so that a launcher
that waits for signals waits for this too.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsrt.errors import ConfigError

if TYPE_CHECKING:
    import socket

FIRST_PASSED = 3  # sd_listen_fds(3)
MAX_NOTICE = 4096
MAX_DESCRIPTORS = 8
SEND_S = 1.0  # a manager whose queue stays full must not keep the launcher from passing signals on
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Handed:
    """What a service manager has handed over; nothing where none has started us."""

    address: str = ""  # of its socket, as the socket module takes it
    watchdog_us: int = 0  # within which it wants to hear of us
    listeners: tuple[tuple[str, int], ...] = ()  # (name, descriptor)


def take(environment: MutableMapping[str, str], pid: int) -> Handed:
    """Take what was meant for process `pid` out of an environment. Raises ConfigError for what cannot be."""
    said = {name: environment.pop(name, "") for name in _VARIABLES}
    address = said["NOTIFY_SOCKET"]
    if address and address[0] not in "/@":
        raise ConfigError(f"NOTIFY_SOCKET is {address!r}: only a path or an abstract socket can be written to")
    is_watched = said["WATCHDOG_PID"] in ("", str(pid))
    return Handed(
        address=f"\0{address[1:]}" if address.startswith("@") else address,
        watchdog_us=_number(said["WATCHDOG_USEC"]) if is_watched else 0,
        listeners=_listeners(said) if said["LISTEN_PID"] == str(pid) else (),
    )


def _listeners(said: MutableMapping[str, str]) -> tuple[tuple[str, int], ...]:
    count = _number(said["LISTEN_FDS"])
    names = said["LISTEN_FDNAMES"].split(":") if said["LISTEN_FDNAMES"] else []
    names += [""] * (count - len(names))
    return tuple((names[index], FIRST_PASSED + index) for index in range(count))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


class Relay:
    """Passes notices of the supervisor on to the service manager; a manager that is gone is told nothing."""

    def __init__(self, address: str) -> None:
        import socket  # only here: a launcher without a manager does without

        self._address = address
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.there = there.detach()  # the supervisor's end
        self._here.setblocking(False)
        fcntl.fcntl(self._here, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._here, fcntl.F_SETFL, fcntl.fcntl(self._here, fcntl.F_GETFL) | os.O_ASYNC)

    def pass_on(self) -> None:
        """Pass on all that waits."""
        import socket

        while True:
            try:
                notice, descriptors, _, _ = socket.recv_fds(self._here, MAX_NOTICE, MAX_DESCRIPTORS)
            except OSError:  # nothing more
                return
            if not notice:
                return  # the supervisor has ended
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                    manager.settimeout(SEND_S)
                    _send(manager, self._address, notice, descriptors)
            except OSError:
                pass
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def close(self) -> None:
        """Pass on the last words."""
        self.pass_on()
        self._here.close()


def _send(manager: socket.socket, address: str, notice: bytes, descriptors: list[int]) -> None:
    import socket

    manager.connect(address)
    if descriptors:
        socket.send_fds(manager, [notice], descriptors)
    else:
        manager.send(notice)


def arguments_of(handed: Handed, relay: Relay | None) -> list[str]:
    """Return what the supervisor is started with: descriptors that it inherits, and no address."""
    words = ["--manager", str(relay.there), "--watchdog-us", str(handed.watchdog_us)] if relay is not None else []
    for name, descriptor in handed.listeners:
        words += ["--passed", f"{descriptor}:{name}"]
    return words


def inherited(handed: Handed, relay: Relay | None) -> list[int]:
    """Return the descriptors that go on to the supervisor and are closed in the launcher."""
    return [*([relay.there] if relay is not None else []), *(descriptor for _, descriptor in handed.listeners)]
