"""What carriers have in common: taking what is for them out of their mailbox, and handing in what comes from outside.

Out, each target has a `Pump`: it watches the messages of a topic, has up to `window` of them carried at once in the
order of arrival, and acknowledges those that the other side has for good. While that is away it pauses, doubling, and
the messages stay where they are. So each goes at least once, under an id that is the same each time; within the life of
the process no message is carried again that was carried before, also if its acknowledgement was lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from functools import partial
from typing import Any

from tlsrt import (
    Busy,
    CallError,
    Cancelled,
    Component,
    DeadlineExceeded,
    Failed,
    OutcomeUnknown,
    Rejected,
    ServerLocked,
    Stale,
    StreamBroken,
    Unavailable,
)

MESSAGES = "external/messages"
FIRST_S = 1.0
_REOPEN_S = 0.05  # until a watch that ended without an error is opened again
ACKNOWLEDGED_AT_ONCE = 100
_REMEMBERED = 4096  # positions that were acknowledged; more than a watch has under way
# Errors of a call that is worth another try; a host that is locked is unlocked one day.
PASSING = (
    Unavailable, Busy, Stale, OutcomeUnknown, DeadlineExceeded, StreamBroken, Cancelled, Rejected, ServerLocked,
)  # fmt: skip
_OURS = "messages: "  # begins a reason that is not the target's
_REFUSAL = "text/plain; tlsrt=refusal"  # is not answered by another one: two carriers would go on for ever
Message = dict[str, Any]


class NotTaken(Exception):
    """The other side has not taken a message now, for the reason given; it is to be tried again."""


class Refused(Exception):
    """The other side will never take a message, for the reason given, a sentence for its sender."""


Carry = Callable[[Message], Awaitable[None]]  # returns when the message is taken; raises NotTaken, Refused


class Carrier:
    """The mailbox of a component that is a carrier."""

    def __init__(
        self, component: Component, retry_s: float, what: str, wall_ms: Callable[[], int] | None = None
    ) -> None:
        """`what` names a target, as "hook" does; `retry_s` is the longest pause; `wall_ms` a clock for tests."""
        self.away: dict[str, str] = {}  # target: why
        self.what = what
        self._component = component
        self._retry_s = retry_s
        self._wall_ms = wall_ms or (lambda: time.time_ns() // 1_000_000)

    # -- out --------------------------------------------------------------------------------------------------

    def carry(
        self, target: str, carry: Carry, topic: str | None = None, window: int = 1,
        is_for: Callable[[Message], bool] | None = None,
    ) -> Pump:  # fmt: skip
        """Have what is sent with `topic`, or TOPIC.MORE, carried from now on; without a topic all that is sent.

        What `is_for` says no to is left alone.
        """
        pump = Pump(self, target, carry, topic, window, is_for)
        self._component.spawn(pump.run, name=f"{self.what} {target}")
        return pump

    def refuse_others(self, targets: Collection[str]) -> None:
        """Have senders told of topics that name none of the targets; else such a message would wait for nothing."""
        self._component.spawn(partial(self._refuse_others, frozenset(targets)), name="other topics")

    async def _refuse_others(self, targets: frozenset[str]) -> None:
        known = ", ".join(sorted(targets)) or "none yet"
        failures = 0
        while True:
            try:
                async with aclosing(self.watch(None)) as messages:
                    async for message in messages:
                        failures = 0
                        if message["topic"].partition(".")[0] not in targets:
                            words = f"the topic {message['topic']!r} names no {self.what}: use one of {known}"
                            await self.tell(message, words)
                            await self.acknowledge([message["position"]])
                await asyncio.sleep(_REOPEN_S)
            except CallError:
                failures += 1
                await asyncio.sleep(self.pause_s(failures))  # the pumps tell of it

    def watch(self, topic: str | None) -> Any:
        """Return the stream of what is in the mailbox, with bodies."""
        return self._component.stream(MESSAGES, "watch", 0, topic)

    async def acknowledge(self, positions: list[int]) -> None:
        """Take messages out of the mailbox. Raises CallError."""
        await self._component.call(MESSAGES, "acknowledge", positions=positions)

    async def tell(self, message: Message, words: str) -> None:
        """Answer the sender of a message, under an id that is the same each time. Raises CallError if that may pass."""
        if message.get("content_type") == _REFUSAL:
            self._component.log.warning("a refusal of %s cannot be carried on: %s", message["from"], words)
            return
        try:
            await self.hand_in(
                message["from"], words, source="refused", peer_id=f"{message['position']} {message['id']}",
                in_reply_to=message["id"], content_type=_REFUSAL, within_s=0,
            )  # fmt: skip
        except CallError as error:
            if isinstance(error, PASSING):
                raise
            self._component.log.warning("cannot tell %s: %s", message["from"], error.message)

    def is_expired(self, message: Message) -> bool:
        """Tell whether a message has expired; the mailbox gives it up by itself."""
        return bool(message["expires_ms"] <= self._wall_ms())

    def left_s(self, message: Message) -> int:
        """Return how long a message is still to be carried, seconds, at least 1."""
        return max(1, min(0xFFFF_FFFF, int(message["expires_ms"] - self._wall_ms()) // 1000))

    def pause_s(self, failures: int) -> float:
        """Return the pause after so many failures in a row."""
        return pause_s(failures, self._retry_s)

    def is_away(self, target: str, why: str) -> None:
        """Note why a target is not reached."""
        self._component.count("failed")
        if self.away.get(target) != why:
            self._component.log.warning("%s %s: %s", self.what, target, why)
        self.away[target] = why

    def is_there(self, target: str) -> None:
        """Note that a target is reached."""
        if self.away.pop(target, None) is not None:
            self._component.log.info("%s %s is there again", self.what, target)

    def count(self, name: str) -> None:
        """Count in the figures of the component."""
        self._component.count(name)

    def trouble(self) -> str | None:
        """Return which targets are away and why, as `healthy` says it."""
        return "; ".join(f"{self.what} {name}: {why}" for name, why in sorted(self.away.items())) or None

    def now_ms(self) -> int:
        """Return the wall clock, ms."""
        return self._wall_ms()

    # -- in ---------------------------------------------------------------------------------------------------

    def id_of(self, source: str, peer_id: str) -> str:
        """Return the id that `hand_in` gives a message."""
        return derived_id(self._component.address, source, peer_id)

    async def hand_in(
        self, to: str, body: str | bytes, *, source: str, peer_id: str, topic: str | None = None,
        content_type: str | None = None, in_reply_to: str | None = None, expires_s: float | None = None,
        attachments: list[dict[str, Any]] | None = None, within_s: float = 60.0,
    ) -> dict[str, Any]:  # fmt: skip
        """Send what came from outside; when this returns it is on the disk, and may be acknowledged to the peer.

        `peer_id` is the peer's own id of it and `source` what that is unique in: a repetition is one message, for 15
        minutes after it was acknowledged. Tries for `within_s` while there is no answer or no room, then raises
        CallError; what is wrong with the message itself raises at once.
        """
        id = self.id_of(source, peer_id)
        until = asyncio.get_running_loop().time() + within_s
        failures = 0
        while True:
            try:
                sent: dict[str, Any] = await self._component.call(
                    MESSAGES, "send", to, body, topic=topic, content_type=content_type, in_reply_to=in_reply_to,
                    expires_s=expires_s, attachments=attachments, id=id,
                )  # fmt: skip
                return sent
            except (*PASSING, Failed):
                failures += 1
                pause_s = min(self.pause_s(failures), 10.0)
                if asyncio.get_running_loop().time() + pause_s >= until:
                    raise
                await asyncio.sleep(pause_s)


class Pump:
    """Carries the messages of one target."""

    def __init__(
        self, carrier: Carrier, target: str, carry: Carry, topic: str | None, window: int,
        is_for: Callable[[Message], bool] | None = None,
    ) -> None:  # fmt: skip
        self.target = target
        self._carrier = carrier
        self._carry = carry
        self._topic = topic
        self._window = window
        self._is_for = is_for
        self._failures = 0
        self._due = 0.0  # on the clock of the loop: no attempt is begun before
        self._slots = asyncio.Semaphore(window)
        self._held: set[int] = set()  # positions that are under way, or carried and not acknowledged yet
        self._done: list[int] = []
        self._is_done = asyncio.Event()
        self._acknowledged: dict[int, None] = {}
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Try again at once: the target seems to be there again."""
        self._hurry.set()

    async def run(self) -> None:
        """Carry, for ever."""
        # What a run that failed had under way was not acknowledged, so this one finds it in the mailbox.
        self._slots = asyncio.Semaphore(self._window)
        self._held.clear()
        self._is_done.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._acknowledge())
            failures = 0
            while True:
                try:
                    await self._carrier.acknowledge([])  # says whether messages are there, where none comes
                    self._has_messages()
                    async with aclosing(self._carrier.watch(self._topic)) as messages:
                        async for message in messages:
                            failures = 0
                            await self._take(message, tasks)
                    await asyncio.sleep(_REOPEN_S)
                except CallError as error:
                    failures += 1
                    self._has_no_messages(error)
                    await asyncio.sleep(self._carrier.pause_s(failures))

    def _has_no_messages(self, error: CallError) -> None:
        self._carrier.is_away(self.target, f"{_OURS}{error.message}")

    def _has_messages(self) -> None:
        if self._carrier.away.get(self.target, "").startswith(_OURS):
            self._carrier.is_there(self.target)

    async def _take(self, message: Message, tasks: asyncio.TaskGroup) -> None:
        position = message["position"]
        if position in self._held or position in self._done or position in self._acknowledged:
            return
        if self._is_for is not None and not self._is_for(message):
            return
        await self._slots.acquire()
        self._held.add(position)
        tasks.create_task(self._bring(message))

    async def _bring(self, message: Message) -> None:
        """Try until the message is taken, refused or expired."""
        while not self._carrier.is_expired(message):
            await self._until_due()
            began, refusal = asyncio.get_running_loop().time(), None
            try:
                await self._carry(message)
            except NotTaken as error:
                self._failed(began, str(error))
                continue
            except Refused as error:
                refusal = str(error)
            self._failures = 0
            self._carrier.is_there(self.target)
            try:
                if refusal is not None:
                    self._carrier.count("refused")
                    await self._carrier.tell(message, refusal)
            except CallError as error:
                self._failed(began, f"{_OURS}{error.message}")
                continue
            self._done.append(message["position"])
            self._is_done.set()
            return
        self._carrier.count("expired")
        self._held.discard(message["position"])
        self._slots.release()

    def _failed(self, began: float, why: str) -> None:
        self._carrier.is_away(self.target, why)
        if began >= self._due:  # of several that fail together the first sets the pause
            self._failures += 1
            self._hurry.clear()
            self._due = asyncio.get_running_loop().time() + self._carrier.pause_s(self._failures)

    async def _until_due(self) -> None:
        while (pause_s := self._due - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(pause_s):
                    await self._hurry.wait()
            except TimeoutError:
                continue
            self._due = 0.0

    async def _acknowledge(self) -> None:
        """Acknowledge what is done, as many as there are at once; a slot is free when that is on the disk."""
        failures = 0
        while True:
            await self._is_done.wait()
            self._is_done.clear()
            while self._done:
                batch = self._done[:ACKNOWLEDGED_AT_ONCE]
                try:
                    await self._carrier.acknowledge(batch)
                except CallError as error:
                    failures += 1
                    self._has_no_messages(error)
                    await asyncio.sleep(self._carrier.pause_s(failures))
                    continue
                failures = 0
                self._has_messages()
                del self._done[: len(batch)]
                for position in batch:
                    self._acknowledged[position] = None
                    if position in self._held:
                        self._held.discard(position)
                        self._slots.release()
                while len(self._acknowledged) > _REMEMBERED:
                    del self._acknowledged[next(iter(self._acknowledged))]


def pause_s(failures: int, most_s: float) -> float:
    """Return the pause after so many failures in a row: doubling from FIRST_S, and half of it by chance."""
    return float(min(most_s, FIRST_S * 2 ** min(failures - 1, 16))) * (0.5 + random.random() / 2)  # noqa: S311


def derived_id(address: str, source: str, peer_id: str) -> str:
    """Return the id of a message from outside, the same each time."""
    text = "\0".join((address, source, peer_id))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
