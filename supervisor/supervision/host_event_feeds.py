"""Feeds of kernel events: from the helper to a component over a pair of sockets of their own, one way.

Nothing of an event passes the supervisor: it makes the socket that the kernel speaks to and the pair, and hands both
over. A component that does not read loses events, and is told how many.
"""

from __future__ import annotations

import socket

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.helper_process import HelperProcess
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import LoopEvent

_UEVENT, _KERNEL_GROUP = 15, 1  # netlink(7); group 2 is udev's, in a form of its own
_RECEIVE_BYTES = 1 << 20  # a hub with all its devices at once


class HostEventFeeds(Feature):
    """The feeds of all processes that are granted any."""

    def __init__(self, context: Context, loops: Loops, helper: HelperProcess) -> None:
        self._context = context
        self._loops = loops
        self._helper = helper
        self._is_listening = False  # the helper that there is now
        helper.on_ready.append(self._begin)

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        if event is LoopEvent.ATTESTED and self._helper.is_attested and self._is_granted(loop):
            self._context.event_loop.call_later(0, lambda: self._connect(loop))

    def _begin(self) -> None:
        """Hand a new helper the feeds of all who listen."""
        self._is_listening = False
        for loop in self._loops.all:
            if loop.is_trusted and self._is_granted(loop):
                self._connect(loop)

    def _listen(self) -> None:
        """Hand the helper the socket that the kernel speaks to, once."""
        if self._is_listening:
            return
        self._is_listening = True
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _UEVENT) as kernel:
                kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
                kernel.setblocking(False)
                kernel.bind((0, _KERNEL_GROUP))
                self._helper.hand("listen", kernel.fileno())
        except OSError as error:
            self._context.console.warning("helper", f"cannot hear of devices: {error.strerror}")

    def _connect(self, loop: Loop) -> None:
        if not (loop.is_trusted and self._helper.is_attested):
            return
        self._listen()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        with ours, theirs:
            ours.shutdown(socket.SHUT_RD)  # what a component says there is not read
            ours.setblocking(False)
            theirs.setblocking(False)
            self._helper.hand("subscribe", ours.fileno())
            self._loops.tell(loop, "host_events", descriptors=(theirs.fileno(),))

    def _is_granted(self, loop: Loop) -> bool:
        return bool(self._context.current.config.event_grants_of(loop.name))
