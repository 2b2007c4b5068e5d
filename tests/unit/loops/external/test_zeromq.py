"""Messages by ZeroMQ without a host: frames, keys, options, and a real DEALER over loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from tlsrt import ConfigError, Failed, InvalidArgument
from tlsrt.loops.external.zeromq import Zeromq, public_key
from tlsrt.loops.external.zeromq_message import Answered, Ready, Sent, answer, message, parse_untrusted
from tlsrt.testing import running, running_sync

ID = b"0" * 32
# RFC 26 and the manual of libzmq (zmq_curve) have this pair as an example.
PUBLIC, SECRET = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"


def test_what_peers_send() -> None:
    assert parse_untrusted([b"tlsrt1", b"ready"]) == Ready()
    got = parse_untrusted([b"tlsrt1", b"send", b"a", b"door", b"", "grüße".encode()])
    assert got == Sent("a", "door", "text/plain", "grüße", "")
    assert parse_untrusted([b"tlsrt1", b"send", b"a", b"", b"image/png", b"\xff"]) == Sent(
        "a", "", "image/png", b"\xff", ""
    )
    assert parse_untrusted([b"tlsrt1", b"taken", ID]) == Answered(ID.decode(), None)
    assert parse_untrusted([b"tlsrt1", b"refused", ID, b"\x1b[" + b"x" * 5000]) == Answered(
        ID.decode(), "?[" + "x" * 198
    )


@pytest.mark.parametrize(
    "frames",
    [[], [b""], [b"tlsrt2", b"ready"], [b"tlsrt1", b"taken", b"x"], [b"tlsrt1", b"send", b"a b", b"", b"", b""],
     [b"tlsrt1", b"send", b"", b"", b"", b""], [b"tlsrt1"] * 10_000, [b"tlsrt1", b"send", b"\xff", b"", b"", b""]],
)  # fmt: skip
def test_frames_that_are_none(frames: list[bytes]) -> None:
    got = parse_untrusted(frames)
    assert isinstance(got, Sent) and got.id == "" and "none of tlsrt1" in got.problem


def test_a_message_of_a_mailbox_and_answers() -> None:
    kept = {
        "id": ID.decode(), "from": "client/anna", "topic": "press", "content_type": "text/plain", "created_ms": 1,
        "expires_ms": 2, "in_reply_to": None, "attachments": [], "body": "grüße", "position": 1,
    }  # fmt: skip
    frames = message(kept)
    assert frames[:3] == [b"tlsrt1", b"message", ID] and frames[4] == "grüße".encode()
    assert json.loads(frames[3])["from"] == "client/anna"
    assert answer(b"kept", "a") == [b"tlsrt1", b"kept", b"a"]
    assert answer(b"later", "a", "no") == [b"tlsrt1", b"later", b"a", b"no"]


def test_keys_by_z85_and_hexadecimal() -> None:
    assert public_key(PUBLIC) == public_key(public_key(PUBLIC).hex())
    for text in ("x", "é" * 40, "g" * 64, " " * 40, "#" * 40):
        with pytest.raises(ValueError, match="is no key"):
            public_key(text)


class Local(Zeromq):
    """Listens on loopback by itself."""

    def _listener(self) -> socket.socket:
        made = socket.create_server(("127.0.0.1", 0))
        self.bound = made.getsockname()[1]
        return made


NEEDS = {"state_mb": 16, "secrets": [{"name": "curve", "why": "a test"}]}
PEER = {"key": PUBLIC, "to": "client/anna"}


@pytest.mark.parametrize(
    ("options", "secret", "words"),
    [
        ({"peers": {"a b": PEER}}, bytes(32), "is no name"),
        ({"peers": {"a": PEER, "b": PEER}}, bytes(32), "b has the key of a"),
        ({"peers": {"a": {**PEER, "key": "x" * 41}}}, bytes(32), "is no key"),
        ({"networks": ["192.168.1.7/24"]}, bytes(32), "is no network"),
        ({}, b"short", "secret make external/zeromq curve --replace"),
    ],
)  # fmt: skip
def test_what_is_refused_is_one_sentence(options: dict[str, Any], secret: bytes, words: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=words),
        running_sync(
            Local, options=options, needs=NEEDS, secrets={"curve": secret}, state=tmp_path, address="external/zeromq"
        ),
    ):
        pass


class Mail:
    """The mailbox of the carrier, and what it sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str | bytes, dict[str, Any]]] = []
        self.error: Exception | None = None

    async def watch(self, after: int, topic: str | None) -> AsyncIterator[dict[str, Any]]:
        nothing: list[dict[str, Any]] = []
        for one in nothing:
            yield one

    def acknowledge(self, ids: list[str] | None = None, positions: list[int] | None = None) -> int:
        return 0

    def send(self, to: str, body: str | bytes, **more: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.sent.append((to, body, more))
        return {}


def test_a_peer_is_answered_when_its_message_is_kept(tmp_path: Path) -> None:
    import asyncio

    async def work() -> None:
        mail = Mail()
        async with running(
            Local, options={"peers": {"press": PEER}}, peers={"external/messages": mail}, needs=NEEDS, state=tmp_path,
            secrets={"curve": b"c" * 32}, address="external/zeromq",
        ) as it:  # fmt: skip
            context = zmq.asyncio.Context()
            dealer = context.socket(zmq.DEALER)
            dealer.curve_serverkey = (await it.call("key")).encode()
            dealer.curve_publickey, dealer.curve_secretkey = PUBLIC.encode(), SECRET.encode()
            dealer.connect(f"tcp://127.0.0.1:{it.component.bound}")
            try:
                heard = []
                for error in (Failed("the mailbox is full"), None, None, InvalidArgument("no")):
                    mail.error = error
                    id = b"2" if isinstance(error, InvalidArgument) else b"1"
                    await dealer.send_multipart([b"tlsrt1", b"send", id, b"door", b"", b"hello"])
                    heard.append((await dealer.recv_multipart())[1:3])
                assert heard == [[b"later", b"1"], [b"kept", b"1"], [b"kept", b"1"], [b"refused", b"2"]]
                [(to, body, more)] = mail.sent
                assert (to, body, more["topic"]) == ("client/anna", "hello", "press.door")
            finally:
                context.destroy(0)

    asyncio.run(work())
