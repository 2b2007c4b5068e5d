"""Grants of sockets, as lines of a profile: what the supervisor opens for a process. Pure.

A datagram socket that may answer is the one descriptor on which a process may name an address as it sends, and a filter
sees only its number. So the number is one that the process can give to nothing else: it is not below RLIMIT_NOFILE,
where neither a new descriptor nor a copy can lie (getrlimit(2), EINVAL and EBADF of dup2(2) and fcntl(2)). The
supervisor's child puts the socket there before its limit is lowered; once closed, the number stays empty.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenLine:
    """A socket that the process inherits. `number` is that of its descriptor, -1 for any."""

    key: str  # its name among the descriptors of the process
    place: str  # HOST:PORT/PROTOCOL
    answers: bool
    number: int
    why: str
    part: str
    replies: bool = False  # of those that answer: only to who has sent something, see `reply_filter.py`

    @property
    def form(self) -> tuple[str, str, bool, int, bool]:
        """Return what of it makes a process another one."""
        return self.key, self.place, self.answers, self.number, self.replies


def numbers_of(places: list[tuple[str, bool]], open_files: int) -> dict[str, int]:
    """Return key -> number of the descriptor, for (key, whether it is a datagram socket) of one process."""
    datagrams = [key for key, is_datagram in places if is_datagram]
    return {key: open_files + datagrams.index(key) if is_datagram else -1 for key, is_datagram in places}


@dataclass(frozen=True, slots=True)
class SocketLine:
    """A UNIX socket of another program that the supervisor connects the process to, or to its proxy instead."""

    path: str
    why: str
    part: str
    proxy: str = ""  # where we listen for the proxy, on the host
