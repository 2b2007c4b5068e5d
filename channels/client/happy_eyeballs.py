"""Socket connected to the first address of a host that answers (Happy Eyeballs, RFC 8305). asyncio.

As `loop.create_connection(happy_eyeballs_delay=...)` does it, but that loses its socket where it is cancelled in the
turns of the event loop between connect(2) and its end: the socket, and what the host keeps for it, are there until the
garbage is collected. Here a socket belongs to the task that connects it, or to the one function that waits for these.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Sequence
from typing import Any, TypeAlias

AFTER_S = 0.25  # RFC 8305, section 8: until the next address is tried as well
Place: TypeAlias = tuple[int, Any]  # family, and an address of socket(7)


async def connected_socket(host: str, port: int) -> socket.socket:
    """Return a socket, not blocking, that is connected to a host. If cancelled, it leaves none. Raises OSError."""
    waiting = [*reversed(await _places_of(host, port))]
    trying: set[asyncio.Task[socket.socket | OSError]] = set()
    errors: list[OSError] = []
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.ensure_future(_try(*waiting.pop())))
            timeout_s = AFTER_S if waiting else None
            done, _ = await asyncio.wait(trying, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                made = task.result()
                trying.discard(task)
                if not isinstance(made, OSError):
                    return made
                errors.append(made)
        raise _error_of(host, errors)
    finally:
        for task in trying:
            task.cancel()
            if task.done():
                _close(task)
            else:
                task.add_done_callback(_close)


async def _places_of(host: str, port: int) -> list[Place]:
    """Return its addresses, of each family in turn. What is an address already needs no resolver, and no thread."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    families: dict[int, list[Place]] = {}
    for family, _, _, _, address in await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM):
        families.setdefault(family, []).append((family, address))
    return [one for row in itertools.zip_longest(*families.values()) for one in row if one is not None]


async def _try(family: int, address: Any) -> socket.socket | OSError:
    """Return a socket that is connected, or why there is none."""
    try:
        # with its protocol, by which asyncio knows where to set TCP_NODELAY
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    except OSError as error:
        return error
    try:
        await asyncio.get_running_loop().sock_connect(made, address)
    except OSError as error:
        made.close()
        return error
    except BaseException:
        made.close()
        raise
    return made


def _close(task: asyncio.Task[socket.socket | OSError]) -> None:
    """Close what a task has connected that is not needed any more."""
    if not task.cancelled() and task.exception() is None and isinstance(made := task.result(), socket.socket):
        made.close()


def _error_of(host: str, errors: Sequence[OSError]) -> OSError:
    """Return one error for all. It is a new one: one that was raised has a traceback, and so would be in a cycle."""
    texts = [*dict.fromkeys(map(str, errors))]
    if len(texts) == 1:
        return OSError(errors[0].errno, errors[0].strerror)
    return OSError(f"Multiple exceptions: {', '.join(texts)}" if texts else f"{host} has no address")
