"""A real mosquitto that wants TLS 1.3 and a client certificate, whose name is the user; it dies and comes again."""

from __future__ import annotations

import queue
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from hosts.mqtt_broker import LIMIT_S, MqttBroker
from hosts.ports import free_port
from tlsrt.config import pki

_CONFIG = """\
per_listener_settings false
listener {port} 127.0.0.1
cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
require_certificate true
use_identity_as_username true
tls_version tlsv1.3
allow_anonymous false
acl_file {folder}/acl
user root
persistence true
persistence_location {folder}/
"""


class Heard(NamedTuple):
    """A message that a client of the broker has heard."""

    topic: str
    payload: bytes
    retain: bool
    properties: Any


class Listener(NamedTuple):
    """A client of the broker: the connection, and what it hears."""

    client: paho.Client
    heard: queue.Queue[Heard]

    def next(self, topic: str, *, limit_s: float = LIMIT_S) -> Heard:
        """Wait for the next message of a topic, or below it where it ends with /#."""
        while True:
            found = self.heard.get(timeout=limit_s)
            if found.topic == topic or (topic.endswith("/#") and found.topic.startswith(topic[:-1])):
                return found

    def say(self, topic: str, payload: bytes | str, *, retain: bool = False, qos: int = 1) -> None:
        """Publish, and wait until the broker has it."""
        self.client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(LIMIT_S)

    def ask(self, topic: str, payload: bytes | str, answer_to: str, correlation: bytes | None = None) -> None:
        """Publish what wants an answer to a topic, and wait until the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = answer_to
        if correlation is not None:
            properties.CorrelationData = correlation
        self.client.publish(topic, payload, qos=1, properties=properties).wait_for_publish(LIMIT_S)


class TlsBroker(MqttBroker):
    """The broker. `rights` says what each user may: lines of mosquitto's ACL."""

    def __init__(self, rights: Mapping[str, tuple[str, ...]]) -> None:
        self.port = free_port()
        self.folder = self._folder = Path(tempfile.mkdtemp(prefix="tlsrt-broker."))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        now = datetime.now(UTC)
        ca = pki.make_ca(bytes(16), now)
        own = pki.issue_server(ca, bytes(16), "127.0.0.1", now)
        self._write("ca.pem", ca.certificate_pem)
        self._write("broker.pem", own.certificate_pem)
        self._write("broker.key", own.key_pem)
        lines: list[str] = []
        self.pairs: dict[str, bytes] = {}
        for user, topics in rights.items():
            client = pki.issue_client(ca, bytes(16), user, now)
            self.pairs[user] = client.certificate_pem + client.key_pem
            self._write(f"{user}.pem", self.pairs[user])
            lines += [f"user tlsrt client {user}", *(f"topic {topic}" for topic in topics)]
        self._write("acl", "\n".join((*lines, "")).encode())
        self._write("config", _CONFIG.format(port=self.port, folder=self.folder).encode())

    def _write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    @contextmanager
    def listener(self, user: str, *topics: str, clean: bool = True, name: str = "") -> Iterator[Listener]:
        """Return a connected client that hears some topics."""
        heard: queue.Queue[Heard] = queue.Queue()
        subscribed: queue.Queue[object] = queue.Queue()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name or f"test-{user}", protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )  # fmt: skip
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(self.folder / f"{user}.pem")
        client.tls_set_context(context)
        client.on_message = lambda _client, _data, one: heard.put(
            Heard(one.topic, bytes(one.payload), bool(one.retain), one.properties)
        )
        client.on_subscribe = lambda *_: subscribed.put(None)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        client.connect("127.0.0.1", self.port, clean_start=clean, properties=properties)
        client.loop_start()
        try:
            if topics:
                client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])
                subscribed.get(timeout=LIMIT_S)
            yield Listener(client, heard)
        finally:
            client.disconnect()
            client.loop_stop()
