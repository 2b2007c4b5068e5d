"""The service manager that has started this host, as the supervisor has it: what is said to it, sd_notify(3).

`notice` and `status_line` are pure. The socket leads to the launcher, which the manager listens to; a host that no
manager has started says nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tlsrt.text import sentence

STATUS_MAX = 240  # characters that `systemctl status` shows on a line or two


class Manager(Protocol):
    """Who started this host and wants to know how it is."""

    @property
    def watchdog_us(self) -> int:
        """Within which it wants to hear of us; 0 if it does not."""

    def say(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Tell it; what it does not take at once is lost."""


def notice(*words: str, **fields: str | int) -> bytes:
    """Return a message: words that are assignments already, then each field as NAME=VALUE.

    >>> notice("READY=1", STATUS="5 loops")
    b'READY=1\\nSTATUS=5 loops'
    """
    return "\n".join([*words, *(f"{name}={value}" for name, value in fields.items())]).encode(errors="replace")


def status_line(parts: Sequence[str]) -> str:
    """Return a status out of its parts, as one printable line: a part may hold words of a file."""
    return sentence(", ".join(part for part in parts if part), STATUS_MAX)


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The way to the service manager; without a descriptor there is none."""

    descriptor: int | None = None
    watchdog_us: int = 0

    def say(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        if self.descriptor is None:
            return
        with socket.socket(fileno=self.descriptor) as way:
            try:
                if descriptors:
                    socket.send_fds(way, [message], list(descriptors), socket.MSG_DONTWAIT)
                else:
                    way.send(message, socket.MSG_DONTWAIT)
            except OSError:
                pass  # the launcher is stopped, or gone: then we end as well
            finally:
                way.detach()
