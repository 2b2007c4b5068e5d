"""Announcing and finding services by multicast DNS (RFC 6762, 6763), with python-zeroconf. asyncio.

Nothing in mDNS is signed: who is on the link may announce anything, and say goodbye for another. So what comes is
bounded before it is kept, and a goodbye is taken for true only when the service does not answer a question.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from zeroconf import IPVersion, RecordUpdate, RecordUpdateListener, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from tlsrt.loops.external.discovered import SERVICES_MAX, DiscoveredServices, found_of

AT_ONCE = 32  # questions about single services
WAITING_MAX = 512
ASK_MS = 2000
RECORDS_MAX = 4096  # of all that was heard, also of what is not looked for
GUARD_S = 0.5  # between two looks, while something comes
ASK_AGAIN_S = 60.0  # about what is there: most of it from what was heard, which lasts as long as its time to live


@dataclass(frozen=True, slots=True)
class Announced:
    """A service of this host, as the options have it."""

    name: str
    type: str  # "_http._tcp.local."
    port: int
    txt: Mapping[str, str]


class _News(RecordUpdateListener):
    """Sets an event when records come, whatever they are about."""

    def __init__(self, has_come: asyncio.Event) -> None:
        super().__init__()
        self._has_come = has_come

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        self._has_come.set()


class Mdns:
    """One responder and browser. `tell` takes a topic and what is told."""

    def __init__(self, tell: Callable[[str, dict[str, Any]], None], count: Callable[[str], None]) -> None:
        self.services = DiscoveredServices(SERVICES_MAX)
        self.announced: dict[str, dict[str, Any]] = {}
        self._tell = tell
        self._count = count
        self._waiting: dict[tuple[str, str], bool] = {}  # type and name, whether a goodbye was heard
        self._has_come = asyncio.Event()
        self._records_come = asyncio.Event()
        self._zeroconf: AsyncZeroconf
        self._browser: AsyncServiceBrowser | None = None

    def begin(self, types: Sequence[str], *, has_six: bool) -> None:
        """Open the sockets, and look for types."""
        self._zeroconf = AsyncZeroconf(ip_version=IPVersion.All if has_six else IPVersion.V4Only)
        self._zeroconf.zeroconf.async_add_listener(_News(self._records_come), None)
        if types:
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, [*types], handlers=[self._has_changed])

    async def announce(self, one: Announced, host: str, addresses: Sequence[bytes]) -> None:
        """Announce a service; one whose name is taken gets another one, `NAME-2`."""
        info = ServiceInfo(
            one.type, f"{one.name}.{one.type}", addresses=[*addresses], port=one.port, properties=dict(one.txt),
            server=host,
        )  # fmt: skip
        await (await self._zeroconf.async_register_service(info, allow_name_change=True))
        name = info.name.removesuffix(f".{one.type}")
        self.announced[one.name] = {"name": name, "type": one.type, "port": one.port, "renamed": name != one.name}

    async def ask(self) -> None:
        """Ask about services that were heard of, some at once, as long as it runs."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._has_come.wait()
                self._has_come.clear()
                while self._waiting:
                    await slots.acquire()
                    (kind, name), is_goodbye = next(iter(self._waiting.items()))
                    del self._waiting[kind, name]
                    asked = tasks.create_task(self._look_at(kind, name, is_goodbye))
                    asked.add_done_callback(lambda _: slots.release())

    async def guard(self) -> None:
        """Keep what was heard within bounds: a flood of announcements is forgotten, and who is there is asked again.

        While nothing comes and none is to be asked again it sleeps.
        """
        while True:
            await asyncio.sleep(GUARD_S)
            due = self.services.next_stale(ASK_AGAIN_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    self._records_come.wait(), max(0.0, due - time.monotonic()) if due is not None else None
                )
            self._records_come.clear()
            for kind, name in self.services.stale(time.monotonic(), ASK_AGAIN_S):
                self._put(kind, name, is_goodbye=True)
            cache = self._zeroconf.zeroconf.cache
            records = [one for name in cache.names() for one in cache.entries_with_name(name)]
            if len(records) > RECORDS_MAX:
                self._count("floods")
                cache.async_remove_records(records)

    async def end(self) -> None:
        """Say goodbye for what was announced, and close."""
        with suppress(Exception):
            if self._browser is not None:
                await self._browser.async_cancel()
            await self._zeroconf.async_unregister_all_services()
        await self._zeroconf.async_close()

    def _has_changed(self, zeroconf: object, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        is_goodbye = state_change is ServiceStateChange.Removed
        if is_goodbye and not self.services.has(name):
            return
        self._put(service_type, name, is_goodbye=is_goodbye)

    def _put(self, kind: str, name: str, *, is_goodbye: bool) -> None:
        if (kind, name) not in self._waiting and len(self._waiting) >= WAITING_MAX:
            self._count("left_out")
            return
        self._waiting[kind, name] = is_goodbye
        self._has_come.set()

    async def _look_at(self, kind: str, name: str, is_goodbye: bool) -> None:
        try:
            info = AsyncServiceInfo(kind, name)
            is_there = await info.async_request(self._zeroconf.zeroconf, ASK_MS)
        except Exception:  # of a name that is none: who announces one is not heard
            self._count("bad_names")
            return
        if is_there and info.port is not None:
            found = found_of(
                name, kind, info.server or "", info.port, info.parsed_addresses(IPVersion.All), info.properties
            )
            self._records_come.set()  # the guard works out anew when one is to be asked again
            if self.services.put(name, found, time.monotonic()):
                self._tell("found", found.told())
            elif is_goodbye:
                self._count("false_goodbyes")
        elif is_goodbye and (gone := self.services.remove(name)) is not None:
            self._tell("lost", gone.told())
