"""What carriers have in common, without a host: windows, pauses, answers to senders, what is handed in, lost calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tlsrt import Component
from tlsrt.errors import Failed, InvalidArgument, Unavailable
from tlsrt.loops.external.carrier import Carrier, Message, NotTaken, Refused, derived_id
from tlsrt.testing import running


def message(position: int, topic: str = "lamp", **more: Any) -> Message:
    return {
        "id": f"{position:032x}", "from": "client/anna", "topic": topic, "body": str(position), "position": position,
        "expires_ms": 1 << 52, **more,
    }  # fmt: skip


class Mail:
    """The mailbox of a carrier. `failures` are raised by the next calls of `acknowledge` and `send`."""

    def __init__(self, *messages: Message) -> None:
        self.messages = {one["position"]: one for one in messages}
        self.failures: list[Exception] = []
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.watches = 0

    async def watch(self, after: int, topic: str | None) -> AsyncIterator[Message]:
        self.watches += 1
        for one in [*self.messages.values()]:
            if topic is None or one["topic"].partition(".")[0] == topic:
                yield one
        await asyncio.sleep(0.02)
        raise Unavailable("messages were restarted")

    def acknowledge(self, positions: list[int]) -> int:
        if positions and self.failures:
            raise self.failures.pop(0)
        for one in positions:
            del self.messages[one]  # a KeyError is an acknowledgement that comes twice
        return len(positions)

    def send(self, to: str, body: str, **more: Any) -> dict[str, Any]:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((to, body, more))
        return {"id": more["id"], "is_new": True}


class Courier(Component):
    """A carrier of a test, which hands each message to `take`."""

    async def start(self) -> None:
        self.carrier = Carrier(self, 1.0, "target")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.loops.external.carrier.FIRST_S", 0.01)


def with_courier(mail: Mail, work: Callable[[Carrier], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(Courier, address="external/courier", peers={"external/messages": mail}) as it:
            async with asyncio.timeout(30):
                await work(it.component.carrier)

    asyncio.run(run())


async def until(is_true: Callable[[], object]) -> None:
    while not is_true():
        await asyncio.sleep(0.005)


def test_each_is_carried_once_in_a_window_however_often_the_mailbox_is_away() -> None:
    mail = Mail(*(message(position) for position in range(1, 41)))
    mail.failures = [Unavailable("away"), Unavailable("away")]
    taken: list[int] = []
    under_way, most = 0, 0

    async def take(one: Message) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.002)
        under_way -= 1
        taken.append(one["position"])

    async def work(carrier: Carrier) -> None:
        carrier.carry("lamp", take, "lamp", window=4)
        await until(lambda: not mail.messages and mail.watches > 3)
        await until(lambda: carrier.trouble() is None)

    with_courier(mail, work)
    assert sorted(taken) == [*range(1, 41)] and most == 4


def test_a_target_that_is_away_is_told_and_delays_no_other() -> None:
    mail = Mail(message(1, "door.bell"), message(2), message(3))
    is_there = False
    tries = 0

    async def knock(one: Message) -> None:
        nonlocal tries
        tries += 1
        if not is_there:
            raise NotTaken("nobody opens")

    async def take(one: Message) -> None:
        """Take all."""

    async def work(carrier: Carrier) -> None:
        nonlocal is_there
        carrier.carry("door", knock, "door")
        carrier.carry("lamp", take, "lamp")
        await until(lambda: [*mail.messages] == [1] and tries > 2)
        await until(lambda: carrier.away.get("door") == "nobody opens")  # and not that messages were restarted
        assert "target door: nobody opens" in (carrier.trouble() or "")
        is_there = True
        await until(lambda: not mail.messages)
        await until(lambda: "nobody opens" not in (carrier.trouble() or ""))

    with_courier(mail, work)


def test_a_refusal_is_told_once_and_a_topic_without_a_target_too() -> None:
    mail = Mail(message(1), message(2, "attic"))
    mail.failures = [Unavailable("the answer waits too")]

    async def refuse(one: Message) -> None:
        raise Refused("the lamp is sold")

    async def work(carrier: Carrier) -> None:
        carrier.carry("lamp", refuse, "lamp")
        carrier.refuse_others(["lamp", "door"])
        await until(lambda: not mail.messages)

    with_courier(mail, work)
    told = {more["in_reply_to"]: body for _, body, more in mail.sent}
    assert told == {
        message(1)["id"]: "the lamp is sold",
        message(2)["id"]: "the topic 'attic' names no target: use one of door, lamp",
    }
    assert len({more["id"] for _, _, more in mail.sent}) == 2


def test_what_has_expired_is_neither_carried_nor_acknowledged() -> None:
    mail = Mail(message(1, expires_ms=1), message(2))

    async def take(one: Message) -> None:
        assert one["position"] == 2

    async def work(carrier: Carrier) -> None:
        carrier.carry("lamp", take, "lamp")
        await until(lambda: [*mail.messages] == [1])

    with_courier(mail, work)


def test_what_is_handed_in_has_an_id_of_the_peers_and_is_tried_again() -> None:
    mail = Mail()
    mail.failures = [Unavailable("away"), Failed("the mailbox of client/anna is full")]

    async def work(carrier: Carrier) -> None:
        for _ in range(2):
            await carrier.hand_in("client/anna", "hello", source="bob", peer_id="7", topic="chat")
        mail.failures = [InvalidArgument("to: no way leads to a host")]
        with pytest.raises(InvalidArgument):
            await carrier.hand_in("client/anna@x", "hello", source="bob", peer_id="8")
        mail.failures = [Failed("full")] * 1000
        with pytest.raises(Failed):
            await carrier.hand_in("client/anna", "hello", source="bob", peer_id="9", within_s=0.05)

    with_courier(mail, work)
    [first, second] = mail.sent
    assert first == second and first[2]["id"] == derived_id("external/courier", "bob", "7")
    assert derived_id("external/courier", "bob7", "") != derived_id("external/courier", "bob", "7")


def test_two_carriers_do_not_refuse_each_other_s_refusals_for_ever() -> None:
    first, others = Mail(message(1, "sold", **{"from": "external/other"})), list[int]()

    async def work(carrier: Carrier) -> None:
        carrier.refuse_others(["lamp"])
        for round in range(2, 12):  # the other carrier: what it gets without a topic of its own, it refuses
            await until(lambda: not first.messages)
            if not first.sent:
                return
            _, body, more = first.sent.pop()
            others.append(round)
            answer = {"in_reply_to": more["id"], "content_type": more["content_type"], "from": "external/other"}
            first.messages[round] = message(round, "", **answer)
            assert "names no target" in body

    with_courier(first, work)
    assert others == [2], "the refusal of a refusal is none"
