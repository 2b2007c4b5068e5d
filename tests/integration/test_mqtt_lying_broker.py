"""The connection to a broker that lies, over TLS: nothing is believed, nothing grows, and an honest one is found again.

Without a host: what is held here is what the library under it, as it is installed, does with such packets.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from fakes.lying_broker import PUBACK, LyingBroker, packet, publish
from fakes.own_certificate import server_context

from tlsrt.loops.external.broker_link import BrokerLink, new_client
from tlsrt.loops.external.broker_message import Received, Subscription
from tlsrt.loops.external.carrier import NotTaken, Refused
from tlsrt.loops.external.packet_guard import PACKET_BYTES, guard_sockets

LOG = logging.getLogger("test")


class Ends:
    """The link of a test and its broker."""

    def __init__(self, broker: LyingBroker, folder: Path) -> None:
        self.broker = broker
        self.taken: list[Received] = []
        self.counts: dict[str, int] = {}
        self._context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        guard_sockets(self._context)
        self.link = BrokerLink(
            "test", self._client, (Subscription("door/#", 1),), self.taken.append, self._greet, retry_s=1.0, ack_s=0.3,
            log=LOG, count=self._count,
        )  # fmt: skip

    def _client(self) -> aiomqtt.Client:
        return new_client(
            "127.0.0.1", self.broker.port, identifier="test", clean=False, expiry_s=60, will=None, window=16,
            incoming=64, packet_bytes=PACKET_BYTES, log=LOG, tls_context=self._context,
        )  # fmt: skip

    async def _greet(self) -> None:
        """Nothing is said."""

    def _count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    async def until_up(self) -> None:
        await until(lambda: self.link.away is None)


async def until(is_true: Callable[[], object]) -> None:
    while not is_true():
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.loops.external.carrier.FIRST_S", 0.02)


def with_broker(folder: Path, work: Callable[[Ends], Awaitable[None]], **more: Any) -> None:
    async def run() -> None:
        async with LyingBroker(server_context(folder)) as broker:
            for name, value in more.items():
                setattr(broker, name, value)
            ends = Ends(broker, folder)
            running = asyncio.create_task(ends.link.run())
            try:
                async with asyncio.timeout(60):
                    await work(ends)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_what_is_not_acknowledged_was_not_taken_and_the_broker_is_dialled_again(tmp_path: Path) -> None:
    async def work(ends: Ends) -> None:
        await ends.until_up()
        answers = await asyncio.gather(
            *(ends.link.publish("lamp", b"on") for _ in range(30)), return_exceptions=True
        )  # fmt: skip
        assert all(isinstance(one, NotTaken) for one in answers)
        ends.broker.acknowledges = True
        await until(lambda: ends.broker.connections >= 2)
        await ends.until_up()
        await ends.link.publish("lamp", b"on")
        assert len(ends.link._waiting) == 0

    with_broker(tmp_path, work, acknowledges=False)


def test_an_acknowledgement_that_refuses_is_told_and_a_full_broker_is_tried_again(tmp_path: Path) -> None:
    async def work(ends: Ends) -> None:
        await ends.until_up()
        with pytest.raises(Refused, match="refuses the topic lamp: Not authorized"):
            await ends.link.publish("lamp", b"on")
        ends.broker.reason = b"\x97"
        with pytest.raises(NotTaken, match="no room"):
            await ends.link.publish("lamp", b"on")
        ends.broker.send(packet(PUBACK, b"\x77\x77") * 100)  # of what was never sent
        ends.broker.reason = b""
        await ends.link.publish("lamp", b"on")

    with_broker(tmp_path, work, reason=b"\x87")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packet(0x30, b"\0\1x\0" + bytes(60_000), 256 << 20 - 1 & 0xFFFFFFF), "a packet of"),
        (packet(0x30, b"\0\1x\0" + bytes(200_000)), "a packet of 200004 bytes"),
        (b"".join(publish(b"door", b"x", qos=2, mid=mid) for mid in range(1, 500)), "QoS 2"),
        (b"\x30\xff\xff\xff\xff\xff", "no end"),
    ],
)  # fmt: skip
def test_packets_that_are_too_large_or_of_qos_2_end_the_connection(tmp_path: Path, data: bytes, words: str) -> None:
    async def work(ends: Ends) -> None:
        await until(lambda: ends.link.away is not None and words in ends.link.away)
        assert ends.taken == []
        ends.broker.at_once = b""
        await ends.until_up()

    with_broker(tmp_path, work, at_once=data)


def test_hostile_topics_and_floods_cost_no_memory_and_no_exception(tmp_path: Path) -> None:
    async def work(ends: Ends) -> None:
        await ends.until_up()
        for topic in (b"\xff\xfe", b"door/\xed\xa0\x80", b"door/\0", b"", "door/‮".encode(), b"$SYS/" + b"x" * 60_000):
            ends.broker.send(publish(topic, b"x", qos=1, mid=7))
        ends.broker.send(publish(b"door/back", b"last", qos=1, mid=8, dup=True, retain=True))
        await until(lambda: ends.taken and ends.taken[-1].payload == b"last")
        assert ends.counts["odd_topics"] == 2 and ends.taken[-1].is_repeated and ends.taken[-1].is_retained
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ends.link._take = lambda message: None
        assert await ends.broker.flood(publish(b"door/back", bytes(60_000)) * 10, 300) == 300
        ends.broker.send(publish(b"door/back", b"", qos=1, mid=9))
        await ends.link.publish("lamp", b"on")
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kb < 40_000, f"{grown_kb} KB for 180 MB"

    with_broker(tmp_path, work)


def test_a_message_is_acknowledged_on_its_own_connection_alone(tmp_path: Path) -> None:
    """The next connection has another message under the number: to acknowledge that would lose it."""

    async def work(ends: Ends) -> None:
        await ends.until_up()
        ends.broker.send(publish(b"door/back", b"ring", qos=1, mid=5))
        await until(lambda: ends.taken)
        old = ends.taken[0]
        ends.link.cut("a test")
        await until(lambda: ends.broker.connections == 2)
        await ends.until_up()
        ends.broker.send(publish(b"door/back", b"other", qos=1, mid=5))
        await until(lambda: len(ends.taken) == 2)
        ends.link.acknowledge(old)
        await ends.link.publish("lamp", b"on")
        assert [kind for kind, _ in ends.broker.said if kind == PUBACK >> 4] == []
        ends.link.acknowledge(ends.taken[1])
        await until(lambda: [body for kind, body in ends.broker.said if kind == PUBACK >> 4] == [b"\0\5"])

    with_broker(tmp_path, work)
