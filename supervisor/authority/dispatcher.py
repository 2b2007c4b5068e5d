"""Hands each message to the service that handles it, and gives all services their turn. Pure.

Each message that the tables list for a sender has exactly one handler: this is checked once, at the boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.trust import TRUST
from tlsrt.errors import MisuseError
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.model.ports import Service
from tlsrt.supervisor.authority.provisioning import Provisioner

SHELL = frozenset({"boot", "stop"})  # messages that the shell handles itself

Handler = TypeVar("Handler")


class Dispatcher:
    """The services of one authority. `provisioner` is one of them."""

    def __init__(self, services: tuple[Service, ...], provisioner: Provisioner, loops: LoopTable) -> None:
        self.services = services
        self._provisioner = provisioner
        self._loops = loops
        self._of_loops = _merged(service.loop_handlers() for service in services)
        self._of_supervisor = _merged(service.supervisor_handlers() for service in services)
        _check_complete(self._of_loops, TRUST.sent_by("loop") | TRUST.sent_by("primary"))
        _check_complete(self._of_supervisor, AUTHORITY_CHANNEL.sent_by("supervisor") - SHELL)

    def heard(self, loop: str, name: str, message: Any, moment: Moment) -> None:
        """Handle a message of a loop; raise PeerError if it is wrong."""
        self._of_loops[name](self._loops[loop], message, moment)
        self._announce(moment)

    def asked(self, name: str, message: Any, moment: Moment, descriptors: Iterable[int] = ()) -> None:
        """Handle a message of the supervisor. Descriptors are the handler's from here on."""
        self._of_supervisor[name](message, moment, *descriptors)
        self._announce(moment)

    def next_due(self) -> int | None:
        """Return when `tick` has something to do (BOOTTIME, ms), or None."""
        times = (service.next_due() for service in self.services)
        return min((when for when in times if when is not None), default=None)

    def tick(self, moment: Moment) -> int | None:
        """Do what is due; return by how many ms the feed was late, if it was its turn."""
        for service in self.services:
            service.tick(moment)
            self._announce(moment)
        return self._provisioner.take_lateness()

    def _announce(self, moment: Moment) -> None:
        for loop in self._provisioner.take_joined():
            for service in self.services:
                service.joined(loop, moment)


def _merged(parts: Iterable[Mapping[str, Handler]]) -> dict[str, Handler]:
    merged: dict[str, Handler] = {}
    for handlers in parts:
        if twice := merged.keys() & handlers.keys():
            raise MisuseError(f"two services handle {', '.join(sorted(twice))}")
        merged |= handlers
    return merged


def _check_complete(handlers: Mapping[str, object], names: frozenset[str]) -> None:
    if different := handlers.keys() ^ names:
        raise MisuseError(f"not exactly one handler for {', '.join(sorted(different))}")
