"""Names of hosts, asked of the C library's resolver in a few threads, with a bound for each of them."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor

from tlsrt import Busy, DeadlineExceeded, InvalidArgument, NotFound, Unavailable

AT_ONCE, WAITING_MAX = 4, 16
WITHIN_S = 10.0
ADDRESSES_MAX = 32
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_NOT_THERE = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5))


class NameLookup:
    """Asks for names. A thread that waits for a server cannot be stopped, so they are few, and others wait."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._asked = 0

    async def addresses_of(self, name: str) -> list[str]:
        """Return the addresses of a name. Raises CallErrors with a sentence for each way in which there are none."""
        if len(name) > 253 or not _NAME.fullmatch(name):
            raise InvalidArgument("that is no name of a host: at most 253 of a-z, 0-9, - and _ between dots")
        if self._asked >= WAITING_MAX:
            raise Busy(f"{WAITING_MAX} names are asked for now; try again")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, "names")
        self._asked += 1
        asked = asyncio.get_running_loop().run_in_executor(self._threads, _ask, name)
        asked.add_done_callback(self._has_answered)
        try:
            async with asyncio.timeout(WITHIN_S):
                return await asyncio.shield(asked)
        except TimeoutError:
            raise DeadlineExceeded(f"no name server has answered in {WITHIN_S:g} s") from None
        except socket.gaierror as error:
            if error.errno in _NOT_THERE:
                raise NotFound(f"{name} has no address") from None
            raise Unavailable(f"cannot ask for {name}: no name server answers, or no egress rule lists one") from None
        except OSError as error:
            raise Unavailable(f"cannot ask for {name}: {error.strerror}") from None

    def close(self) -> None:
        """Begin nothing more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _has_answered(self, asked: asyncio.Future[list[str]]) -> None:
        self._asked -= 1
        if not asked.cancelled():
            asked.exception()  # who asked may be gone


def _ask(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found)
    return [str(ipaddress.ip_address(one)) for one in addresses][:ADDRESSES_MAX]
