"""Messages to and from an MQTT broker, and this host at Home Assistant: a carrier. Needs the extra `mqtt` (aiomqtt).

Two connections. By the one messages go and come: the broker keeps its session, so that what is sent to us while we are
away waits there. By the other the state of the host goes and commands come: that session ends with the connection, so
that no command outlives it, and its last will says `offline`.
"""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from typing import Any

# OpenSSL reads the key of a certificate from a file, so it is written there encrypted: loaded here, before the seal.
from cryptography.hazmat.primitives import serialization

from tlsrt import CallError, Component, ConfigError, database, handler, load_key_pair
from tlsrt.loops.external.broker_answers import BrokerAnswers, Way
from tlsrt.loops.external.carrier import Carrier, NotTaken, Refused
from tlsrt.loops.external.home_assistant import OFFLINE, ONLINE, Topics
from tlsrt.loops.external.mqtt_intake import INCOMING, STEPS, MqttIntake
from tlsrt.loops.external.mqtt_options import MqttOptions
from tlsrt.loops.external.packet_guard import PACKET_BYTES, guard_sockets

try:
    import aiomqtt

    from tlsrt.loops.external.broker_link import BrokerLink, new_client
    from tlsrt.loops.external.broker_message import Received, Subscription
    from tlsrt.loops.external.home_assistant_bridge import HomeAssistantBridge
except ImportError:  # aiomqtt is not installed, which `start` says
    _HAS_EXTRA = False
else:
    _HAS_EXTRA = True

_ = serialization
_BROKER = "broker"


class Mqtt(Component):
    """MQTT: messages to topics and from topics, and this host at Home Assistant."""

    Options = MqttOptions
    db = database(steps=STEPS)

    def warm_up(self) -> None:
        """Read certificates, and have libraries load what they load at first use, while files can be opened."""
        "x".encode("idna")
        self._ca, self._ca_trouble = "", ""
        try:
            self._ca = Path(self.options.broker.ca).read_text("ascii")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            self._ca_trouble = f"cannot read {self.options.broker.ca}: {why}; see `read` under its needs"

    async def start(self) -> None:
        if not _HAS_EXTRA:
            raise ConfigError("it needs aiomqtt: pip install 'tlsrt[mqtt]', then start it again")
        if not self.options.broker.host:
            raise ConfigError("name the broker: `broker: {host: mqtt.example.org}` among its options")
        options = self.options
        self._tls_trouble = ""
        self._context = self._tls()
        self._carrier = Carrier(self, options.retry_s, "mqtt")
        self._topics = Topics(options.node)
        self._bridge: HomeAssistantBridge | None = None
        if options.home_assistant is not None:
            self._bridge = HomeAssistantBridge(self, options.home_assistant, options.node)
        self._links: dict[str, BrokerLink] = {}
        self._start_state()
        if options.topics or options.sources:
            self._start_messages()
        for name, link in self._links.items():
            self.spawn(link.run, name=f"connection for {name}")

    def _tls(self) -> ssl.SSLContext:
        if self._ca_trouble:
            raise ConfigError(self._ca_trouble)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(cadata=self._ca)
        except (ssl.SSLError, ValueError):
            raise ConfigError(f"{self.options.broker.ca} has no certificate in PEM") from None
        guard_sockets(context, self._tls_ended)
        pair = self.secret("client", None)
        if pair is not None:
            try:
                load_key_pair(context, pair, self.state)
            except (OSError, ValueError, TypeError):
                raise ConfigError(
                    "the secret client is no certificate with its key in PEM: "
                    f"`cat client.crt client.key | tlsrt-supervisor secret set {self.address} client`"
                ) from None
        return context

    def _tls_ended(self, why: str) -> None:
        """Note why the broker has ended TLS: the library under it waits then, and tells nothing."""
        if why != self._tls_trouble:
            advice = "" if self.secret("client", None) else "; set its certificate, the secret `client`"
            self.log.warning("the broker ends TLS: %s%s", why, advice)
        self._tls_trouble = why

    def _client(self, suffix: str, *, clean: bool, will: bool) -> aiomqtt.Client:
        broker = self.options.broker
        password = self.secret("password", None)
        return new_client(
            broker.host, broker.port, identifier=(broker.client_id or f"tlsrt-{self.options.node}") + suffix,
            clean=clean, expiry_s=0 if clean else broker.session_s, window=broker.window, incoming=INCOMING,
            will=aiomqtt.Will(self._topics.status, OFFLINE, 1, True) if will else None, packet_bytes=PACKET_BYTES,
            log=self.log.getChild("library"), tls_context=self._context, username=broker.user or None,
            password=password.decode("utf-8", "replace").strip() if password and broker.user else None,
        )  # fmt: skip

    # -- the state of the host --------------------------------------------------------------------------------

    def _start_state(self) -> None:
        bridge = self._bridge
        link = BrokerLink(
            "state", partial(self._client, "-state", clean=True, will=True),
            bridge.subscriptions() if bridge is not None else (), self._take_command, self._greet,
            retry_s=self.options.retry_s, ack_s=self.options.broker.ack_s, log=self.log, count=self.count,
        )  # fmt: skip
        self._links["state"] = link
        if bridge is not None:
            bridge.start(link)

    def _take_command(self, message: Received) -> None:
        if self._bridge is not None:
            self._bridge.take(message)

    async def _greet(self) -> None:
        self._tls_trouble = ""
        if self._bridge is not None:
            await self._bridge.greet()
        try:
            await self._links["state"].publish(self._topics.status, ONLINE.encode(), retain=True)
        except Refused as error:
            self._links["state"].refused[self._topics.status] = str(error)

    async def stop(self) -> None:
        state = self._links.get("state")
        if state is not None and state.away is None:
            try:
                await state.publish(self._topics.status, OFFLINE.encode(), retain=True)
            except Exception as error:  # the last will says it then
                self.log.info("the broker has not taken `offline`: %s", error)
        for link in self._links.values():
            await link.close()

    # -- messages ---------------------------------------------------------------------------------------------

    def _start_messages(self) -> None:
        options = self.options
        filters = tuple(Subscription(one.filter, 1, one.retained) for one in options.sources.values())
        own = (f"tlsrt/{options.node}", options.home_assistant.prefix if options.home_assistant else "homeassistant")
        self._answers = BrokerAnswers(options.sources, self.db, own)
        self._intake = MqttIntake(
            options.sources, self.db, self._carrier, self._acknowledge, self.count, self.log, self._answers
        )
        link = BrokerLink(
            "messages", partial(self._client, "", clean=False, will=False), filters, self._intake.take, self._connected,
            retry_s=options.retry_s, ack_s=options.broker.ack_s, log=self.log, count=self.count,
        )  # fmt: skip
        self._links["messages"] = link
        pump = self._carrier.carry(_BROKER, self._publish, None, options.broker.window)
        link.on_up = pump.hurry
        for name in options.sources:
            self.spawn(partial(self._intake.pump, name), name=f"source {name}")

    def _acknowledge(self, message: Received) -> None:
        self._links["messages"].acknowledge(message)

    async def _connected(self) -> None:
        """On the connection for messages nothing is to be said."""
        self._tls_trouble = ""

    async def _publish(self, message: dict[str, Any]) -> None:
        """Publish a message once. Raises NotTaken, Refused."""
        try:
            way = await self._answers.find(message, self._carrier.now_ms())
        except CallError as error:
            raise NotTaken(f"the ways back cannot be read: {error.message}") from None
        if way is not None:
            await self._answer(message, way)
            return
        name, _, more = message["topic"].partition(".")
        target = self.options.topics.get(name)
        if target is None and message["in_reply_to"]:
            raise Refused(
                "the message that it answers has no way back: it came without a response topic that `answers` of its "
                "source allows, or too long ago; with a topic it goes there"
            )
        if target is None:
            known = ", ".join(sorted(self.options.topics)) or "none yet"
            raise Refused(f"the topic {message['topic']!r} names no topic of the broker: use one of {known}")
        topic = target.topic
        if topic.endswith("/#"):
            topic = topic[:-2] + (f"/{more}" if more else "")
        body = message["body"]
        properties = {
            "MessageExpiryInterval": self._carrier.left_s(message), "ContentType": message["content_type"],
            "UserProperty": [("id", message["id"]), ("from", message["from"])],
        }  # fmt: skip
        payload = body if isinstance(body, bytes) else body.encode()
        await self._links["messages"].publish(topic, payload, retain=target.retain, properties=properties)
        self.count("published")

    async def _answer(self, message: dict[str, Any], way: Way) -> None:
        """Publish an answer to who has asked: not from whom it is, as the broker may be read by anyone."""
        body, properties = message["body"], dict[str, Any]()
        properties["MessageExpiryInterval"] = self._carrier.left_s(message)
        properties["ContentType"] = message["content_type"]
        if way.correlation is not None:
            properties["CorrelationData"] = way.correlation
        payload = body if isinstance(body, bytes) else body.encode()
        await self._links["messages"].publish(way.topic, payload, properties=properties)
        self.count("answered")

    # -- what it tells ----------------------------------------------------------------------------------------

    async def healthy(self) -> str | None:
        if trouble := await self.db.check():
            return trouble
        found = [f"connection for {name}: {one.away}" for name, one in self._links.items() if one.away]
        if found and self._tls_trouble:
            found.insert(0, f"the broker ends TLS: {self._tls_trouble}")
        found += [f"{topic}: {why}" for one in self._links.values() for topic, why in one.refused.items()]
        if "messages" in self._links:
            found += [f"source {name}: {why}" for name, why in self._intake.full.items()]
        if self._bridge is not None:
            found += [f"{name}: {why}" for name, why in sorted(self._bridge.trouble.items())]
        if trouble := self._carrier.trouble():
            found.append(trouble)
        return "; ".join(found)[:1000] or None

    @handler(idempotent=True)
    async def connections(self) -> dict[str, str | None]:
        """The connections to the broker, and why one is away: what is for it waits meanwhile."""
        return {name: one.away for name, one in self._links.items()}
