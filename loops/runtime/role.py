"""Loop roles: what a kind of loop adds to its process. An interface."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator

from tlsrt.budget import Budget
from tlsrt.channels.links.channel import Channel
from tlsrt.errors import PeerError
from tlsrt.loops.runtime.authority_client import Monitor
from tlsrt.loops.runtime.process_figures import Line


class LoopRole(ABC):
    """A role, made in the process's event loop before the seal, and with it all its sockets."""

    channel: Channel  # of the components' frames
    monitor: Monitor | None = None  # what takes the messages for Primary

    @property
    @abstractmethod
    def frames_in(self) -> int:
        """How many frames have come."""

    @property
    @abstractmethod
    def frames_out(self) -> int:
        """How many frames were sent on."""

    @property
    @abstractmethod
    def sessions(self) -> int:
        """How many sessions there are."""

    @abstractmethod
    def set_up(self, up: bool) -> None:
        """Have the channel carry frames from now on, or no longer."""

    def link(self, process: str, listener: int) -> None:
        """Primary only: carry the frames of a further process that connects to this socket. Raises PeerError."""
        os.close(listener)
        raise PeerError("not_primary")

    def unlink(self, process: str) -> None:
        """Primary only: carry the frames of this process no more. Raises PeerError."""
        raise PeerError("not_primary")

    def figures(self) -> Iterator[Line]:
        """Return what it adds to the metrics of its process."""
        yield from ()

    @abstractmethod
    def on_refused_frame(self, data: bytes, reason: str) -> None:
        """A component refused a frame that the gate had let through."""

    @abstractmethod
    def on_refused_session(self, session: bytes, reason: str) -> None:
        """A component refused a frame of a session, which had waited for its turn."""

    @abstractmethod
    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        """The subject of a session uses more than its share of this loop."""

    @abstractmethod
    def on_active(self) -> None:
        """All components have started."""

    @abstractmethod
    async def before_drain(self, timeout_s: float) -> None:
        """The components are about to stop."""

    @abstractmethod
    def each_beat(self, now: int) -> None:
        """Do what has to be done now and then; `now` is BOOTTIME in ms."""
