"""The outbox: a carrier takes what waits for it, one after another, until it has said that it has it. asyncio.

Each carrier has a task of its own, so one that is away or slow delays no other. What cannot be delivered now is tried
again with pauses that double, and so is all behind it, since the carrier is what is away. A message is given up after
`give_up_s`, or at once if the carrier says that it will never take it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from tlsrt import CallError, Database
from tlsrt.loops.third.notice import CarrierAwayError, Message, UndeliverableError, one_line
from tlsrt.loops.third.notice_tables import NoticeTables, Waiting

FIRST_S, CAP_S = 2.0, 600.0
_LOOK_S = 3600.0  # a clock that was set is noticed so soon
_DISK_S = 5.0  # until what a bad disk did not take is tried again
_REASON = 200


class Carrier(Protocol):
    """Brings a message to people. `timeout_s` bounds one attempt."""

    timeout_s: float

    async def deliver(self, message: Message) -> None:
        """Return when it has taken it. Raises CarrierAwayError, UndeliverableError."""
        ...

    def take_back(self, number: int) -> None:
        """Take a notification away that was acknowledged or withdrawn, soon and if it can. Raises nothing."""
        ...


class Outbox:
    """Carriers by name, and what waits for them in the tables. `tell` hears of what was given up."""

    def __init__(
        self, database: Database, tables: NoticeTables, carriers: Mapping[str, Carrier], give_up_s: float,
        wall_ms: Callable[[], int], tell: Callable[[str, Message, str], None], count: Callable[[str], None],
        log: logging.Logger, chance: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._db = database
        self._tables = tables
        self._carriers = dict(carriers)
        self._give_up_ms = int(give_up_s * 1000)
        self._wall_ms = wall_ms
        self._tell = tell
        self._count = count
        self._log = log
        self._chance = chance
        self._wakes = {name: asyncio.Event() for name in carriers}
        self.away: dict[str, str] = {}  # carrier: why

    @property
    def names(self) -> list[str]:
        """Return the names of the carriers."""
        return list(self._carriers)

    def wake(self, carriers: Iterable[str]) -> None:
        """Say that something new waits for them."""
        for name in carriers:
            if name in self._wakes:
                self._wakes[name].set()

    def take_back(self, number: int) -> None:
        """Have every carrier take a notification away."""
        for carrier in self._carriers.values():
            carrier.take_back(number)

    async def pump(self, name: str) -> None:
        """Deliver what waits for one carrier, for ever."""
        carrier, wake = self._carriers[name], self._wakes[name]
        failures = 0
        while True:
            wake.clear()
            waiting = await self._next(name)
            delay_s = _LOOK_S if waiting is None else (waiting.due_ms - self._wall_ms()) / 1000
            if waiting is None or delay_s > 0:
                await _wait(wake, min(delay_s, _LOOK_S))
                continue
            failures = 0 if await self._try(name, carrier, waiting) else failures + 1
            if failures:
                await asyncio.sleep(self._pause_s(failures))

    def _pause_s(self, failures: int) -> float:
        return float(min(CAP_S, FIRST_S * 2 ** min(failures - 1, 16))) * (0.5 + self._chance() / 2)

    async def _try(self, name: str, carrier: Carrier, waiting: Waiting) -> bool:
        """Try one message once; tell whether the carrier is there."""
        message = waiting.message
        try:
            async with asyncio.timeout(carrier.timeout_s):
                await carrier.deliver(message)
        except UndeliverableError as error:
            await self._give_up(name, waiting, _reason(error))
        except (CarrierAwayError, TimeoutError) as error:
            reason = _reason(error) if str(error) else f"no answer within {carrier.timeout_s:g} s"
            self._is_away(name, reason)
            if self._wall_ms() - waiting.begun_ms >= self._give_up_ms:
                await self._give_up(name, waiting, reason)
            else:
                await self._certainly(self._tables.put_off, waiting.row, reason, self._wall_ms())
            return False
        else:
            await self._certainly(self._tables.settle, waiting.row, "delivered", None, self._wall_ms())
            self._count(f"delivered_{name}")
        if self.away.pop(name, None) is not None:
            self._log.info("carrier %s is there again", name)
        return True

    def _is_away(self, name: str, reason: str) -> None:
        self._count(f"failed_{name}")
        if self.away.get(name) != reason:
            self._log.warning("carrier %s: %s", name, reason)
        self.away[name] = reason

    async def _give_up(self, name: str, waiting: Waiting, reason: str) -> None:
        await self._certainly(self._tables.settle, waiting.row, "given_up", reason, self._wall_ms())
        self._count(f"given_up_{name}")
        self._log.warning("carrier %s: notification %d is given up: %s", name, waiting.message.id, reason)
        self._tell(name, waiting.message, reason)

    async def _next(self, name: str) -> Waiting | None:
        while True:
            try:
                return await self._db.query(self._tables.next_of, name)
            except CallError as error:  # the disk; its health tells the operator
                self._log.warning("cannot read what waits for %s: %s", name, error.message)
                await asyncio.sleep(_DISK_S)

    async def _certainly(self, function: Callable[..., None], *args: Any) -> None:
        """Write what became of a delivery. It has happened, so it is not tried again before that is written."""
        while True:
            try:
                return await self._db.transaction(function, *args)
            except CallError as error:
                self._log.warning("cannot write what became of a delivery: %s", error.message)
                await asyncio.sleep(_DISK_S)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _reason(error: BaseException) -> str:
    return one_line(str(error))[:_REASON] or type(error).__name__
