"""What the secrets service does beside its methods: changes and who hears of them, ends of time, keys replaced.

A change is told to who watches also if its caller does not wait for it any more. After one of unknown outcome all
streams end, as who watches may have missed it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

from tlsrt import CallError, ConfigError, Database, Failed, OutcomeUnknown, PubSub
from tlsrt.loops.secondary.secret_schema import Lease, Outcome
from tlsrt.loops.secondary.secret_tables import SecretTables
from tlsrt.loops.secondary.secret_witness import SecretWitness

_RETRY_S = 5.0
_CHECK_S = 1.0
_NAMED = 3  # damaged secrets in one sentence
_WHY = {"put": "replaced", "rotate": "replaced", "delete": "deleted", "destroy": "destroyed"}


class SecretWork:
    """Runs functions of the tables in transactions, and tells what came of it."""

    def __init__(
        self, db: Database, tables: SecretTables, witness: SecretWitness, count: Callable[[str], None],
        log: logging.Logger,
    ) -> None:  # fmt: skip
        self._db = db
        self._tables = tables
        self._witness = witness
        self._count = count
        self._log = log
        self.watchers, self.holders = PubSub(), PubSub()  # by namespace, by reader
        self._changing: set[asyncio.Task[Any]] = set()
        self._checking: asyncio.Task[str | None] | None = None
        self._trouble: str | None = None
        self._next_ms = 0.0  # wall ms before which nothing ends
        self.is_stopping = self.is_begun = False
        self.to_reseal = asyncio.Event()

    async def begin(self) -> None:
        """Look at all that is there. Raises ConfigError for another root, CallErrors of the disk."""
        await self._db.transaction(self._tables.begin)
        self.is_begun = True

    async def run(self, function: Callable[..., Any], *args: object, **kwargs: object) -> Any:
        """Run a function in a transaction and return its result. Raises CallErrors."""
        await self._expect_begun()
        return await self._db.transaction(function, *args, **kwargs)

    async def read(self, function: Callable[..., Any], *args: object, **kwargs: object) -> Any:
        """Run a function that only reads and return its result. Raises CallErrors."""
        await self._expect_begun()
        return await self._db.query(function, *args, **kwargs)

    async def _expect_begun(self) -> None:
        if not self.is_begun:
            try:
                await self.begin()
            except ConfigError as error:
                raise Failed(str(error)) from None

    async def change(self, function: Callable[..., Any], *args: object, **kwargs: object) -> Outcome:
        """Run a function that changes something, and tell it."""
        task = asyncio.create_task(self._change(function, args, kwargs))
        self._changing.add(task)
        task.add_done_callback(self._settled)
        return await asyncio.shield(task)

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._changing.discard(task)
        if not task.cancelled():
            task.exception()  # taken, if its caller does not wait any more

    async def _change(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Outcome:
        try:
            outcome: Outcome = await self.run(function, *args, **kwargs)
        except OutcomeUnknown:
            self.close_streams()
            self._next_ms = 0.0
            raise
        except CallError:
            self._count("refused")
            raise
        self._tell(outcome)
        return outcome

    def _tell(self, outcome: Outcome) -> None:
        for change in outcome.changes:
            self._count(change.operation)
            if change.operation in ("put", "rotate", "delete"):
                self._tables.log.damaged.pop((change.namespace, change.name), None)
            self.watchers.publish(change.namespace, change)
        for lease in outcome.shortened:
            self.tell_holder(lease, "rotated")
        operation = outcome.changes[0].operation if outcome.changes else ""
        for lease in outcome.ended:
            self.tell_holder(lease, _WHY.get(operation, "ended"))
        if outcome.changes:
            self._next_ms = 0.0 if outcome.before else self._next_ms  # a version may have got an end
            self._witness.note(outcome.changes[-1].revision)

    def tell_holder(self, lease: Lease, why: str) -> None:
        """Tell the holder of a lease what has become of it."""
        self.holders.publish(lease.reader, lease.told(why=why))

    def expect_end(self, ends_ms: int) -> None:
        """Look for what is over at this time too (wall ms)."""
        self._next_ms = min(self._next_ms, ends_ms)

    def until_end_s(self, now_ms: int) -> float:
        """Return in how many seconds something is over, as it is known now; negative for what is late."""
        return math.inf if self.is_stopping else (self._next_ms - now_ms) / 1000

    def close_streams(self) -> None:
        """End what everybody watches."""
        self.watchers.close()
        self.holders.close()

    async def end_late(self, wall_ms: Callable[[], int]) -> None:
        """End what is over: leases, and versions whose grace has passed."""
        while (now := wall_ms()) >= self._next_ms and not self.is_stopping:
            try:
                outcome, next_ms = await self.run(self._tables.end_late, now)
            except CallError:  # the disk, as `healthy` says; asked again in a second
                return
            self._next_ms = math.inf if next_ms is None else next_ms
            self._tell(outcome)

    async def reseal(self) -> None:
        """Seal by the newest key what an older one has sealed, as long as there is such a value."""
        while True:
            self.to_reseal.clear()
            try:
                for space in await self.read(self._tables.keys.unfinished):
                    after: tuple[str, int] | None = ("", 0)
                    while after is not None:
                        after = await self.run(self._tables.keys.reseal, space, after)
            except CallError as error:
                self._log.warning("cannot seal by a new key: %s; it is tried again", error.message)
                await asyncio.sleep(_RETRY_S)
                continue
            await self.to_reseal.wait()

    async def trouble(self) -> str:
        """Return what is wrong with the disk or the secrets, "" for nothing. Never waits long for the disk."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._db.check())
        done, _ = await asyncio.wait({self._checking}, timeout=_CHECK_S)
        if done:
            self._trouble = self._checking.result()
        return "; ".join(one for one in (self._trouble, self.wrong(), self._witness.trouble) if one)

    def wrong(self) -> str:
        """Return what is wrong with the secrets, with the names of some; never a value."""
        log = self._tables.log
        damaged = sorted(log.damaged.items())
        names = ", ".join(f"{name!r} of {space} ({why})" for (space, name), why in damaged[:_NAMED])
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        told = f"secrets that are not served: {names}{more}; put them anew or delete them" if damaged else ""
        return "; ".join(one for one in (told, log.notice, self._witness.rolled_back) if one)
