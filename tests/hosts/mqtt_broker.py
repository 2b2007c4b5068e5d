"""A real MQTT broker, mosquitto, on a free port of 127.0.0.1: it wants a password, and dies and comes again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from tools.programs import need

from hosts.running_host import free_port

LIMIT_S = 20.0
_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous false
password_file {folder}/passwords
user root
max_inflight_messages 200
max_queued_messages 100000
"""


class MqttBroker:
    """The broker; `password` is that of every user in `users`."""

    def __init__(self, users: tuple[str, ...], password: str) -> None:
        self.port = free_port()
        self.password = password
        self._folder = Path(tempfile.mkdtemp(prefix="tlsrt-broker."))
        self._process: subprocess.Popen[bytes] | None = None
        for user in users:
            made = [] if (self._folder / "passwords").exists() else ["-c"]
            command = [need("mosquitto_passwd"), "-b", *made, str(self._folder / "passwords"), user, password]
            subprocess.run(command, check=True, capture_output=True)
        (self._folder / "config").write_text(_CONFIG.format(port=self.port, folder=self._folder))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it listens: it says so."""
        self._process = subprocess.Popen(
            [need("mosquitto"), "-v", "-c", str(self._folder / "config")], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        errors = self._process.stderr
        assert errors is not None
        said = b""
        while b" running" not in said:
            line = errors.readline()
            assert line, f"mosquitto does not start: {said.decode()}"
            said += line
        self._reader = threading.Thread(target=_drain, args=(errors,))
        self._reader.start()

    def kill(self) -> None:
        """End it at once, as by `kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process = None

    @contextmanager
    def client(
        self, user: str, *topics: str, heard: Callable[[str, bytes], object] = lambda topic, payload: None
    ) -> Iterator[paho.Client]:
        """Return a connected client in a thread of its own, which tells what it hears on some topics."""
        subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{user}", reconnect_on_failure=False)
        client.username_pw_set(user, self.password)

        def on_message(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
            heard(message.topic, bytes(message.payload))

        client.on_message = on_message
        client.on_subscribe = lambda client, userdata, mid, codes, properties: subscribed.set()
        client.max_inflight_messages_set(200)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            if topics:
                client.subscribe([(topic, 1) for topic in topics])
                assert subscribed.wait(LIMIT_S)
            yield client
        finally:
            client.disconnect()
            client.loop_stop()
            if (left := client.socket()) is not None:  # with much that waits to be sent its thread leaves it open
                left.close()


def _drain(errors: IO[bytes]) -> None:
    """Read to the end, so that the broker never waits for us."""
    with errors:
        while errors.read(65536):
            continue
