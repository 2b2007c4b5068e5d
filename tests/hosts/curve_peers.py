"""A running host with messages and external/zeromq, and peers of it by libzmq."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import zmq

from hosts.joined_messages import MESSAGES, set_secret
from hosts.running_host import RunningHost, free_port

ZEROMQ, PROCESS = "external/zeromq", "external.zeromq"


@dataclass
class CurvePeers:
    """The host, its key, and the pairs of the peers press, lamp and idle (public and secret, Z85)."""

    host: RunningHost
    port: int
    key: bytes
    pairs: dict[str, tuple[bytes, bytes]]
    context: zmq.Context[Any]

    def connect(self, name: str, pair: tuple[bytes, bytes] | None = None, *, route: bytes = b"") -> Peer:
        made = self.context.socket(zmq.DEALER)
        made.curve_serverkey = self.key
        made.curve_publickey, made.curve_secretkey = pair or self.pairs[name]
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.RECONNECT_IVL, 50)
        if route:
            made.setsockopt(zmq.ROUTING_ID, route)
        made.connect(f"tcp://127.0.0.1:{self.port}")
        return Peer(made)

    def inbox(self) -> list[dict[str, Any]]:
        with self.host.client("anna") as anna:
            found: list[dict[str, Any]] = anna.call(MESSAGES, "inbox", limit=100, after=0)["messages"]
            return found

    def counters(self) -> dict[str, float]:
        with self.host.client() as admin:
            found: dict[str, float] = admin.call(ZEROMQ, "metrics", timeout_s=60)["counters"]
            return found


@dataclass
class Peer:
    """A DEALER that speaks the frames of external/zeromq."""

    socket: zmq.Socket[Any]

    def say(self, *frames: bytes) -> None:
        self.socket.send_multipart([b"tlsrt1", *frames])

    def heard(self, within_s: float = 30.0) -> list[bytes] | None:
        """Return the next message without its first frame, None if none comes."""
        return self.socket.recv_multipart()[1:] if self.socket.poll(int(within_s * 1000)) else None

    def send(self, id: bytes, body: bytes, topic: bytes = b"") -> list[bytes]:
        """Send until it is answered, as a peer does; messages to it are left out."""
        while True:
            self.say(b"send", id, topic, b"text/plain", body)
            while (answer := self.heard(2.0)) is not None:
                if answer[:2] == [b"kept", id] or answer[:2] == [b"refused", id]:
                    return answer

    def close(self) -> None:
        self.socket.close(0)


@contextmanager
def curve_peers(**more: Any) -> Iterator[CurvePeers]:
    """Start a host, and add external/zeromq as the guide says."""
    port, pairs = free_port(), {name: zmq.curve_keypair() for name in ("press", "lamp", "idle")}
    peers = {name: {"key": public.decode(), "to": "client/anna"} for name, (public, _) in pairs.items()}
    listen = [{"name": "curve", "port": port, "why": "a test"}]
    host = RunningHost(
        clients=["anna"], extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}, **more.pop("extra", {})}
    )
    context: zmq.Context[Any] = zmq.Context()
    try:
        host.start()
        options = {"peers": peers, "retry_s": 1, **more}
        words = [f"--option={key}={json.dumps(value)}" for key, value in options.items()]
        words += [f"--needs=listen={json.dumps(listen)}", "--allow=client/admin: *"]
        steps = (
            (
                MESSAGES,
                ["--option=mailbox_messages=10000", "--allow=client/anna: [send, sent, inbox, read, acknowledge]"],
            ),
            (ZEROMQ, words),
        )
        for address, words in steps:
            added = host.cli("component", "add", address, "--yes", *words)
            assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        set_secret(host, "curve", b"c" * 32, ZEROMQ)
        host.until(lambda status: host.loop(PROCESS)["state"] == "active", "started zeromq")
        with host.client() as admin:
            key = admin.call(ZEROMQ, "key", timeout_s=60).encode()
        yield CurvePeers(host, port, key, pairs, context)
    except BaseException:
        host.print_logs()
        raise
    finally:
        context.destroy(0)
        host.close()
