"""Feeds of kernel events: from the helper to a component over a pair of sockets of its own for each grant, one way.

Nothing of an event passes the supervisor: it opens what the kernel speaks on, sets it, makes the pair, and hands both
over. A component that does not read loses events, and is told how many.
"""

from __future__ import annotations

import os
import socket

from tlsrt.channels.control.kernel_record import joined
from tlsrt.channels.control.life import LoopState
from tlsrt.channels.control.network_change import joined as joined_interfaces
from tlsrt.config.host_events import LEVELS, RESOURCES, STALLS, HostEventsConfig
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.helper_process import HelperProcess
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import LoopEvent

_UEVENT, _KERNEL_GROUP = 15, 1  # netlink(7); group 2 is udev's, in a form of its own
_ROUTE = 0  # netlink(7)
# RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE: not neighbours, who come and go all the time.
_NETWORK_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
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
        if event is LoopEvent.ATTESTED and self._helper.is_attested:
            self._context.event_loop.call_later(0, lambda: self._connect(loop))

    def _begin(self) -> None:
        """Hand a new helper the feeds of all who listen."""
        self._is_listening = False
        for loop in self._loops.all:
            self._connect(loop)

    def _connect(self, loop: Loop) -> None:
        if not (loop.is_trusted and self._helper.is_attested and loop.managed_by is self._context.current.children):
            return
        for grant, (component, events) in enumerate(self._context.current.config.host_events_of(loop.name)):
            if not events.takes_helper:
                continue
            try:
                self._feed(loop, grant, events)
            except OSError as error:
                words = f"{component.address} hears nothing of {events}: {error.strerror}"
                self._context.console.warning("helper", words)

    def _feed(self, loop: Loop, grant: int, events: HostEventsConfig) -> None:
        """Make the feed of one grant. Raises OSError where the kernel has nothing of its kind."""
        source = -1 if events.kind == "uevents" else open_source(events)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            with ours, theirs:
                ours.shutdown(socket.SHUT_RD)  # what a component says there is not read
                ours.setblocking(False)
                theirs.setblocking(False)
                if events.kind == "uevents":
                    self._listen()
                    self._helper.hand("subscribe", descriptors=(ours.fileno(),))
                elif events.kind == "pressure":
                    fields = RESOURCES.index(events.resource), STALLS.index(events.stall)
                    self._helper.hand("pressure", *fields, descriptors=(source, ours.fileno()))
                elif events.kind == "network":
                    names = joined_interfaces(events.interfaces)
                    self._helper.hand("network", names, descriptors=(source, ours.fileno()))
                else:
                    level, prefixes = LEVELS.index(events.level), joined(events.prefixes)
                    self._helper.hand(
                        "kernel_log", level, int(events.programs), prefixes, descriptors=(source, ours.fileno())
                    )
                self._loops.tell(loop, "host_events", grant, descriptors=(theirs.fileno(),))
        finally:
            if source >= 0:
                os.close(source)

    def _listen(self) -> None:
        """Hand the helper the socket that the kernel speaks of devices to, once. Raises OSError."""
        if self._is_listening:
            return
        with _listening(_UEVENT, _KERNEL_GROUP) as kernel:
            self._helper.hand("listen", descriptors=(kernel.fileno(),))
        self._is_listening = True


def _listening(protocol: int, groups: int) -> socket.socket:
    """Return a socket of netlink(7) in the host's network namespace that has joined groups. Raises OSError."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, protocol)
    try:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        kernel.setblocking(False)
        kernel.bind((0, groups))
    except OSError:
        kernel.close()
        raise
    return kernel


def open_source(events: HostEventsConfig) -> int:
    """Return the open descriptor on which the kernel tells events of a kind, from now on. Raises OSError.

    Whether a trigger may be set, and the log read, is looked at when the file is opened: the helper could do neither.
    """
    if events.kind == "network":
        return _listening(_ROUTE, _NETWORK_GROUPS).detach()
    mode = os.O_RDWR if events.kind == "pressure" else os.O_RDONLY
    source = os.open(events.file, mode | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if events.kind == "pressure":
            os.write(source, b"%s %d %d\0" % (events.stall.encode(), 1000 * events.ms, 1000 * events.within_ms))
        else:
            os.lseek(source, 0, os.SEEK_END)
    except OSError:
        os.close(source)
        raise
    return source
