"""The two ends of a trust channel, each read and written by the test."""

from __future__ import annotations

import socket

from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.control.trust import TRUST

Heard = list[tuple[str, int | bytes]]


def channels() -> tuple[ControlChannel, ControlChannel]:
    """Return the end of a loop and the end of the authority."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ControlChannel(ours.detach(), TRUST), ControlChannel(theirs.detach(), TRUST)


def hear(channel: ControlChannel) -> Heard:
    """Return what has come from a loop: each name and first field, b"" if there is none."""
    heard: Heard = []
    while (message := channel.receive("primary", "joined")) is not None:
        heard.append((message[0], next(iter(message[1]), b"")))
    return heard
