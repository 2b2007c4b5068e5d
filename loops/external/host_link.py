"""The way to another host: a session with it, over which messages go that wait in the outbox. asyncio.

The other host answers each message by `kept`, `refused` or `later`. What was kept is settled here, and with the next
messages that host hears so, which lets it forget their ids; what was not answered goes again, and is known there by its
id. One host that is away costs no other: each has a link with pauses of its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt import AsyncClient, CallError, Database, Failed, TlsrtError
from tlsrt.loops.external.content_tables import ContentTables
from tlsrt.loops.external.message import RECEIPT, signed
from tlsrt.loops.external.outgoing_tables import LATER_MOST_MS, Leaving, Outcome, OutgoingTables

TARGET = "external/messages"
FIRST_S = 0.5
IDLE_S = 60.0  # how long a session is kept that has nothing to carry
CALL_S = 30.0
UPLOAD_S = 290.0
_LOOK_S = 600.0  # a clock that was set is noticed so soon
_DISK_S = 5.0
_LATER_MS = 10_000
_REASON = 200
_NO_HOST = "does not answer as a host that takes messages"


class HostLink:
    """Carries what waits for one host. `tell_dead` hears of what that host will never take."""

    def __init__(
        self, name: str, make_client: Callable[[], AsyncClient], key: Ed25519PrivateKey, database: Database,
        tables: OutgoingTables, contents: ContentTables, retry_s: float, wall_ms: Callable[[], int],
        tell_dead: Callable[[str, Leaving, str], None], count: Callable[..., None], log: logging.Logger,
    ) -> None:  # fmt: skip
        self.name = name
        self.away: str | None = None  # why it is not reached
        self._make_client = make_client
        self._key = key
        self._db = database
        self._tables = tables
        self._contents = contents
        self._retry_s = retry_s
        self._wall_ms = wall_ms
        self._tell_dead = tell_dead
        self._count = count
        self._log = log
        self._client: AsyncClient | None = None
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._heard: list[str] = []  # ids whose settling is on the disk, and of which it was not told yet

    def wake(self) -> None:
        """Say that something new waits."""
        self._wake.set()

    def hurry(self) -> None:
        """Try at once, also where a pause is under way."""
        self._hurry.set()
        self._wake.set()

    async def close(self) -> None:
        """End the session."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def pump(self) -> None:
        """Deliver what waits, for ever."""
        failures = 0
        try:
            while True:
                self._wake.clear()
                try:
                    batch, pause_s = await self._next()
                    if not batch:
                        if not await _set_within(self._wake, min(pause_s, IDLE_S)) and pause_s > IDLE_S:
                            await self.close()
                            await _set_within(self._wake, min(pause_s, _LOOK_S))
                        continue
                    outcomes = await self._carry(batch)
                    await self._db.transaction(self._tables.settle, outcomes, self._wall_ms())
                except (TlsrtError, OSError, ValueError) as error:
                    failures += 1
                    await self._is_away(error)
                    self._hurry.clear()
                    pause_s = min(self._retry_s, FIRST_S * 2 ** min(failures - 1, 16)) * (0.5 + random.random() / 2)  # noqa: S311
                    await _set_within(self._hurry, pause_s)
                    continue
                failures = 0
                self._settled(batch, outcomes)
        finally:
            await self.close()

    async def _next(self) -> tuple[list[Leaving], float]:
        now = self._wall_ms()
        batch = await self._db.query(self._tables.batch, self.name, now)
        if batch:
            return batch, 0.0
        due = await self._db.query(self._tables.next_due, self.name, now)
        return [], _LOOK_S if due is None else max(0.05, (due - now) / 1000)

    async def _carry(self, batch: Sequence[Leaving]) -> list[Outcome]:
        """Hand messages to the other host; return what it says of each. Raises what keeps it from that."""
        if self._client is not None and not self._client.connected:
            await self.close()  # dial at once, and know why that fails
        if self._client is None:
            client = self._make_client()
            try:
                await client.connect()
            except BaseException:
                await client.close()
                raise
            self._client = client
        for one in batch:
            await self._send_files(self._client, one)
        heard = self._heard[:256]
        envelopes = [list(signed(one.envelope, self._key)) for one in batch]
        answer = await self._client.call(TARGET, "deliver", envelopes, heard, timeout_s=CALL_S)
        self._heard = self._heard[len(heard) :]
        if not isinstance(answer, list) or len(answer) != len(batch):
            raise Failed(f"{self.name} {_NO_HOST}")
        return [self._outcome(one, said) for one, said in zip(batch, answer, strict=True)]

    def _outcome(self, one: Leaving, said: Any) -> Outcome:
        """Return what becomes of one. What a host says is its own affair, and cut to a line."""
        state = said.get("state") if isinstance(said, dict) else None
        reason = _line(str(said.get("reason") or "")) if isinstance(said, dict) else ""
        if state == "kept" or (state == "refused" and one.envelope.kind == RECEIPT):
            return Outcome(one.position, "delivered", None, 0)
        if state == "refused":
            return Outcome(one.position, "dead", f"{self.name} refuses it: {reason}", 0)
        pause_ms = min(_LATER_MS << min(one.attempts, 16), LATER_MOST_MS)
        return Outcome(one.position, "waiting", f"{self.name}: {reason or 'later'}", self._wall_ms() + pause_ms)

    async def _send_files(self, client: AsyncClient, one: Leaving) -> None:
        for name, size, sha256 in one.envelope.attachments:
            about = (name, size, sha256)
            offset, is_done = self._place(await client.call(TARGET, "begin_put", *about, timeout_s=CALL_S), size)
            if is_done:
                continue
            content = await self._db.query(
                self._contents.leaving, one.envelope.id, one.envelope.sender.partition("@")[0], name, sha256
            )
            answer = await client.upload(
                TARGET, "go_on_put", self._bytes(content, offset, size), *about, offset, timeout_s=UPLOAD_S
            )  # fmt: skip
            if not self._place(answer, size)[1]:
                raise Failed(f"{self.name} has not taken all of {name}")
            self._count("sent_bytes", size - offset)

    def _place(self, answer: Any, size: int) -> tuple[int, bool]:
        """Return how many bytes of a file are there, and whether that is all. Raises Failed for another answer."""
        offset = answer.get("offset") if isinstance(answer, dict) else None
        if type(offset) is not int or not 0 <= offset <= size:
            raise Failed(f"{self.name} {_NO_HOST}")
        return offset, answer.get("done") is True

    async def _bytes(self, content: int, offset: int, size: int) -> AsyncIterator[bytes]:
        while offset < size:
            data = await self._db.query(self._contents.piece, content, offset)
            if not data:
                return
            yield data
            offset += len(data)

    def _settled(self, batch: Sequence[Leaving], outcomes: Sequence[Outcome]) -> None:
        if self.away is not None:
            self._log.info("host %s is reached again", self.name)
            self.away = None
        for one, outcome in zip(batch, outcomes, strict=True):
            if outcome.state == "delivered":
                self._heard.append(one.envelope.id)
                self._count("delivered")
            elif outcome.state == "dead":
                self._count("dead")
                self._tell_dead(self.name, one, outcome.error or "")
        del self._heard[:-4096]

    async def _is_away(self, error: BaseException) -> None:
        await self.close()
        reason = _line(error.message if isinstance(error, CallError) else str(error)) or type(error).__name__
        self._count("failed")
        if self.away != reason:
            self._log.warning("host %s: %s", self.name, reason)
        self.away = reason
        try:
            await self._db.transaction(self._tables.away, self.name, reason)
        except CallError as failure:  # the disk; its health tells the operator
            self._log.warning("cannot write why host %s is away: %s", self.name, failure.message)
            await asyncio.sleep(_DISK_S)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text[:_REASON])
