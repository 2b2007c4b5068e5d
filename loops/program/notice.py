"""What a program says in NOTIFY_SOCKET: lines of NAME=VALUE in one datagram, sd_notify(3). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tlsrt.text import printable

STATUS_MOST = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """One datagram: what of it is understood here."""

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    watchdog: bool = False  # it is alive
    trigger: bool = False  # it says itself that it is not well
    status: str | None = None


def read_notice_untrusted(data: bytes) -> Notice:
    """Return what a datagram says. Cannot fail: what is not understood is passed over, as sd_notify(3) wants it."""
    said = dict(line.split(b"=", 1) for line in data.split(b"\n") if b"=" in line)
    status = said.get(b"STATUS")
    return Notice(
        ready=said.get(b"READY") == b"1",
        reloading=said.get(b"RELOADING") == b"1",
        stopping=said.get(b"STOPPING") == b"1",
        watchdog=said.get(b"WATCHDOG") == b"1",
        trigger=said.get(b"WATCHDOG") == b"trigger",
        status=None if status is None else printable(status.decode("utf-8", "backslashreplace"), STATUS_MOST),
    )
