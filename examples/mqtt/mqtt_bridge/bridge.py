"""The bridge: one connection to a broker, kept for ever; what comes goes to one component, what is called goes out.

Out, a call of `send` returns when the broker has acknowledged. In, messages wait in a queue that outlives the
connection, and are handed over in their order, some in each call, until the other component has taken them.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from typing import Annotated

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from mqtt_bridge.messages import BATCH_BYTES, BATCH_MOST, PAYLOAD_MOST, Message
from tlsrt import (
    Busy,
    CallError,
    Component,
    DeadlineExceeded,
    InvalidArgument,
    Length,
    OutcomeUnknown,
    Range,
    Stale,
    Unavailable,
    handler,
)

PAUSE_S, PAUSE_MOST_S = 0.2, 10.0  # between two tries to connect, or to hand over
WAITING_MOST = 32 << 20  # bytes of messages that wait to be handed over
MESSAGE_BYTES = 500  # of memory for a message besides its payload
UNREAD_MOST = 20_000  # messages between aiomqtt and us, who take them at once
Payload = Annotated[bytes, Length(PAYLOAD_MOST)] | Annotated[str, Length(PAYLOAD_MOST)]
IS_PASSING = (Unavailable, Busy, Stale, OutcomeUnknown, DeadlineExceeded)  # a call that is worth another try


class Bridge(Component):
    """Publishes to an MQTT broker, and hands what comes from it to a component."""

    class Options:
        host: Annotated[str, Length(255, low=1), "Where the broker is; an egress rule has to allow it."] = "127.0.0.1"
        broker_port: Annotated[int, Range(1, 65535), "Its port."] = 1883
        user: Annotated[str, "The name for the broker, with the secret `broker`; empty: without a login."] = "tlsrt"
        client_id: Annotated[str, Length(64, low=1), "The broker keeps messages under it while we are away."] = "tlsrt"
        subscribe: Annotated[tuple[str, ...], Length(64), "Topics, with the wildcards + and #."] = ()
        deliver_to: Annotated[str, "The component that gets the messages, by its method `deliver`."] = "secondary/inbox"
        window: Annotated[int, Range(1, 1000), "Messages that may wait for the broker's acknowledgement."] = 64
        answer_s: Annotated[int, Range(1, 60), "How long the broker may take for an acknowledgement."] = 10

    async def start(self) -> None:
        self.password = self.secret("broker").decode() if self.options.user else None
        self.client: aiomqtt.Client | None = None
        self.trouble = "not connected yet"
        self.waiting: set[asyncio.Timeout] = set()  # of `send`: calls whose message is not acknowledged
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.waiting_bytes = 0
        self.counts = {"in": 0, "out": 0, "dropped": 0, "connects": 0}
        self.spawn(self.stay_connected)
        self.spawn(self.hand_over)

    def ready(self) -> str | None:
        return None if self.client is not None else self.trouble

    # -- the connection ----------------------------------------------------------------------------------------

    async def stay_connected(self) -> None:
        pause = PAUSE_S
        self.set_status(f"connecting to {self.options.host}:{self.options.broker_port}")
        while True:
            try:
                async with self.new_client() as client:
                    client.pending_calls_threshold = self.options.window  # no warning of what `window` allows
                    await self.subscribe_all(client)
                    self.client, pause = client, PAUSE_S
                    self.counts["connects"] += 1
                    self.set_status(f"connected to {self.options.host}:{self.options.broker_port}")
                    async for message in client.messages:
                        self.take(message)
            except MqttConnectError as error:
                self.trouble = f"the broker refuses {self.options.user or 'us'}: {error}"
            except aiomqtt.MqttError as error:
                self.trouble = f"no broker at {self.options.host}:{self.options.broker_port}: {error}"
            finally:
                self.client = None
                for timeout in self.waiting:
                    timeout.reschedule(0)  # what is not acknowledged now never will be
            self.set_status(self.trouble)
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MOST_S)

    def new_client(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self.options.host, self.options.broker_port, username=self.options.user or None, password=self.password,
            identifier=self.options.client_id, clean_session=False, timeout=5, logger=self.log.getChild("aiomqtt"),
            max_inflight_messages=self.options.window, max_queued_incoming_messages=UNREAD_MOST,
        )  # fmt: skip

    async def subscribe_all(self, client: aiomqtt.Client) -> None:
        for topic in self.options.subscribe:
            for answer in await client.subscribe(topic, qos=1):
                if not isinstance(answer, int) and answer.is_failure:
                    raise aiomqtt.MqttError(f"it refuses the subscription to {topic}")

    # -- in ----------------------------------------------------------------------------------------------------

    def take(self, message: aiomqtt.Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        size = len(payload) + MESSAGE_BYTES
        if not self.options.deliver_to or len(payload) > PAYLOAD_MOST or self.waiting_bytes + size > WAITING_MOST:
            self.counts["dropped"] += 1
            if self.counts["dropped"] % 1000 == 1:
                self.log.warning("dropped a message of %d bytes: it is too large, or too many wait", len(payload))
            return
        self.waiting_bytes += size
        its = Message(topic=str(message.topic), payload=payload, qos=message.qos, retain=message.retain)
        self.incoming.put_nowait(its)

    async def hand_over(self) -> None:
        first = await self.incoming.get()
        while True:
            batch, size = [first], len(first["payload"])
            left_over: Message | None = None
            while len(batch) < BATCH_MOST and left_over is None and not self.incoming.empty():
                message = self.incoming.get_nowait()
                if size + len(message["payload"]) > BATCH_BYTES:
                    left_over = message
                else:
                    size += len(message["payload"])
                    batch.append(message)
            await self.deliver(batch)
            self.waiting_bytes -= size + len(batch) * MESSAGE_BYTES
            first = left_over or await self.incoming.get()

    async def deliver(self, batch: list[Message]) -> None:
        """Call until the other component has taken the messages; by the key it takes them once."""
        target, key, pause = self.options.deliver_to, secrets.token_hex(16), PAUSE_S
        while True:
            try:
                await self.call(target, "deliver", batch, idempotency_key=key)
            except IS_PASSING as error:
                self.set_status(f"{target} does not take messages now: {error}")
                await asyncio.sleep(pause)
                pause = min(pause * 2, PAUSE_MOST_S)
            except CallError as error:
                self.counts["dropped"] += len(batch)
                self.log.error("dropped %d messages, %s does not take them: %s", len(batch), target, error)
                return
            else:
                self.counts["in"] += len(batch)
                return

    # -- out ---------------------------------------------------------------------------------------------------

    @handler
    async def send(
        self, topic: Annotated[str, Length(256, low=1)], payload: Payload,
        qos: Annotated[int, Range(0, 2)] = 1, retain: bool = False,
    ) -> None:  # fmt: skip
        """Publish to the broker; returns when it has acknowledged (QoS 1 and 2). Text is sent as UTF-8."""
        if "+" in topic or "#" in topic:
            raise InvalidArgument("topic: + and # are wildcards, to subscribe and not to publish")
        if self.client is None:
            raise Unavailable(self.trouble)
        if len(self.waiting) >= self.options.window:
            raise Busy(f"{len(self.waiting)} messages wait for the broker")
        limit = asyncio.timeout(self.options.answer_s)
        try:
            async with limit:
                self.waiting.add(limit)
                await self.client.publish(topic, payload, qos=qos, retain=retain, timeout=math.inf)
        except TimeoutError:
            raise OutcomeUnknown("the broker did not acknowledge") from None
        except aiomqtt.MqttError as error:
            raise Unavailable(f"the broker did not get it: {error}") from None
        finally:
            self.waiting.discard(limit)
        self.counts["out"] += 1

    @handler(idempotent=True)
    async def figures(self) -> dict[str, int]:
        """How many messages have passed, and how often it has connected."""
        return {**self.counts, "waiting_out": len(self.waiting), "waiting_in": self.incoming.qsize()}
