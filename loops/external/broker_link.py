"""A connection to an MQTT broker, kept for ever: aiomqtt in MQTT 5, with what it leaves to its user. asyncio.

aiomqtt acknowledges what it has read, and does not tell what the broker said of a message that was published. So
callbacks of the paho client under it are set here: a message is acknowledged when `acknowledge` is called, on the
connection it came by, and `publish` returns when the broker has taken the message, or says why not. A broker that does
not answer in time is left, and dialled again: nothing of an old connection is sent on the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiomqtt
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tlsrt.loops.external.broker_message import Received, Subscription
from tlsrt.loops.external.carrier import NotTaken, Refused, pause_s

STEADY_S = 10.0  # a connection that lasted so long was a good one
_REASON = 200
_LATER = frozenset({0x83, 0x97})  # implementation specific error, quota exceeded: MQTT 5, section 3.4.2.1


class BrokerLink:
    """The connection. `greet` is awaited whenever it is made; `take` gets each message, and must not raise."""

    def __init__(
        self, name: str, make_client: Callable[[], aiomqtt.Client], subscriptions: tuple[Subscription, ...],
        take: Callable[[Received], None], greet: Callable[[], Awaitable[None]], *, retry_s: float, ack_s: float,
        log: logging.Logger, count: Callable[..., None],
    ) -> None:  # fmt: skip
        self.away: str | None = "not connected yet"
        self.refused: dict[str, str] = {}  # filters that the broker refuses, and why
        self.connections = 0
        self._name = name
        self._make_client = make_client
        self._subscriptions = subscriptions
        self._take = take
        self._greet = greet
        self._ack_s = ack_s
        self._log = log
        self._count = count
        self._retry_s = retry_s
        self._client: aiomqtt.Client | None = None
        self._socket: object = None
        self._waiting: dict[int, asyncio.Future[str | None]] = {}
        self._cut = asyncio.Event()
        self._cut_why = ""
        self.on_up: Callable[[], None] = lambda: None

    # -- out --------------------------------------------------------------------------------------------------

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: Mapping[str, Any] | None = None
    ) -> None:
        """Publish with QoS 1; returns when the broker has taken it. Raises NotTaken and Refused."""
        client = self._client
        if client is None:
            raise NotTaken(self.away or "not connected")
        try:
            info = _paho(client).publish(topic, payload, 1, retain, _properties(PacketTypes.PUBLISH, properties or {}))
        except (ValueError, OSError) as error:
            raise NotTaken(f"cannot publish: {error}") from None
        if info.rc != 0:
            raise NotTaken("the connection to the broker is lost")
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting[info.mid] = answer
        try:
            async with asyncio.timeout(self._ack_s):
                refusal = await answer
        except TimeoutError:
            why = f"the broker acknowledges nothing within {self._ack_s:g} s"
            if client is self._client:
                self.cut(why)
            raise NotTaken(why) from None
        finally:
            if self._waiting.get(info.mid) is answer:
                del self._waiting[info.mid]
        if refusal is not None:
            raise Refused(f"the broker refuses the topic {topic}: {refusal}")

    def acknowledge(self, message: Received) -> None:
        """Tell the broker that a message was taken, if the connection that brought it is still there."""
        if self._client is not None and message.mid and message.connection == self.connections:
            _paho(self._client).ack(message.mid, 1)

    def cut(self, why: str) -> None:
        """End the connection, and dial again."""
        self._cut_why = why
        self._cut.set()

    # -- the connection ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the connection, for ever."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began, client = loop.time(), self._make_client()
            self._prepare(client)
            try:
                async with client:
                    began = loop.time()
                    self._client = client
                    await self._until_lost(client)
            except (aiomqtt.MqttError, NotTaken, Refused, OSError, ValueError) as error:
                self._is_away(getattr(self._socket, "refusal", None) or str(error))
            finally:
                self._client = None
                self._drop(client)
                for answer in self._waiting.values():
                    if not answer.done():
                        answer.set_exception(NotTaken("the connection to the broker was lost"))
                self._waiting.clear()
            failures = 1 if loop.time() - began > STEADY_S else failures + 1
            await asyncio.sleep(pause_s(failures, self._retry_s))

    async def close(self) -> None:
        """Disconnect, in order: the broker tells no last will."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(aiomqtt.MqttError, OSError, ValueError, TimeoutError):
                _paho(client).disconnect()

    def _prepare(self, client: aiomqtt.Client) -> None:
        self._cut.clear()
        self.connections += 1
        connection, paho = self.connections, _paho(client)
        paho.manual_ack_set(True)
        self._socket, opened = None, paho.on_socket_open

        def on_socket_open(client: object, data: object, socket: object) -> None:
            self._socket = socket  # kept from its begin: it may be refused before aiomqtt says that it is connected
            opened(client, data, socket)

        def on_message(_client: object, _data: object, message: MQTTMessage) -> None:
            try:
                topic = message.topic
            except UnicodeDecodeError:
                self._count("odd_topics")
                return
            payload = bytes(message.payload)
            mid = message.mid if message.qos else 0
            way = getattr(message.properties, "ResponseTopic", ""), getattr(message.properties, "CorrelationData", None)
            self._take(Received(topic, payload, mid, bool(message.dup), bool(message.retain), connection, *way))

        def on_publish(_client: object, _data: object, mid: int, reason: Any, _properties: object) -> None:
            answer = self._waiting.get(mid)
            if answer is None or answer.done():
                return
            if reason.is_failure and reason.value in _LATER:
                answer.set_exception(NotTaken(f"the broker has no room: {reason}"))
            else:
                answer.set_result(str(reason) if reason.is_failure else None)

        paho.on_socket_open = on_socket_open
        paho.on_message = on_message
        paho.on_publish = on_publish

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        self.refused.clear()
        for one in self._subscriptions:
            handling = 1 if one.wants_retained else 2  # 1: of a subscription that is new; 2: never (section 3.8.3.1)
            options = SubscribeOptions(qos=one.qos, noLocal=True, retainHandling=handling)
            for answer in await client.subscribe(one.filter, options=options):
                if not isinstance(answer, int) and answer.is_failure:
                    self.refused[one.filter] = str(answer)
                    self._log.warning(
                        "%s: the broker refuses the subscription to %s: %s", self._name, one.filter, answer
                    )

    async def _introduce(self, client: aiomqtt.Client) -> None:
        await self._subscribe(client)
        await self._greet()
        if self.away is not None:
            self._log.info("%s: connected", self._name)
        self.away = None
        self.on_up()

    async def _until_lost(self, client: aiomqtt.Client) -> None:
        """Introduce ourselves, and wait until the connection is lost or cut. Raises why."""
        ended = asyncio.ensure_future(anext(aiter(client.messages)))  # no message comes here: only the end
        cut = asyncio.ensure_future(self._cut.wait())
        introduced = asyncio.ensure_future(self._introduce(client))
        tasks: set[asyncio.Future[Any]] = {ended, cut, introduced}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if introduced.done() and not ended.done():
                introduced.result()
                await asyncio.wait((ended, cut), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
            raise aiomqtt.MqttError(self._cut_why)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, client: aiomqtt.Client) -> None:
        """Close a socket that is left, as where a broker does not read that we disconnect."""
        socket: Any = _paho(client).socket()
        if socket is not None and (number := socket.fileno()) >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(number)
            loop.remove_writer(number)
            socket.close()

    def _is_away(self, why: str) -> None:
        line = "".join(each if each.isprintable() else " " for each in why[:_REASON]) or "the connection was lost"
        self._count("lost_connections")
        if line != self.away:
            self._log.warning("%s: %s", self._name, line)
        self.away = line


def new_client(
    host: str, port: int, *, identifier: str, clean: bool, expiry_s: int, will: aiomqtt.Will | None, window: int,
    incoming: int, packet_bytes: int, log: logging.Logger, **more: Any,
) -> aiomqtt.Client:  # fmt: skip
    """Return a client that is not connected yet. `clean`: the broker is to know nothing of an earlier connection."""
    asked = {
        "SessionExpiryInterval": expiry_s, "ReceiveMaximum": incoming, "MaximumPacketSize": packet_bytes,
    }  # fmt: skip
    client = aiomqtt.Client(
        host, port, identifier=identifier, protocol=aiomqtt.ProtocolVersion.V5, clean_start=clean, will=will,
        timeout=10, keepalive=30, logger=log, max_inflight_messages=window,
        properties=_properties(PacketTypes.CONNECT, asked), **more,
    )  # fmt: skip
    client.pending_calls_threshold = window + 16
    return client


def _properties(kind: int, values: Mapping[str, Any]) -> Properties:
    make: Any = Properties  # it has no types
    properties: Properties = make(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _paho(client: aiomqtt.Client) -> Any:
    """Return the paho client under aiomqtt: the one private name that is used of it; tests hold that it is there."""
    return client._client
