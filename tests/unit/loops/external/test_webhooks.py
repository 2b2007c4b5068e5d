"""Webhooks without a host: what is posted, how it is signed, and what follows from an answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tlsrt.errors import InvalidArgument, Unavailable
from tlsrt.loops.external.webhooks import Webhooks, body_of, key_of, signed_headers
from tlsrt.testing import running

KEY = b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = {
    "id": "0" * 32, "from": "client/anna", "to": "external/webhooks", "topic": "chat", "content_type": "text/plain",
    "body": "grüße", "created_ms": 1, "expires_ms": 1 << 52, "in_reply_to": None, "attachments": [], "position": 1,
}  # fmt: skip
NEEDS = {"secrets": [{"name": "key", "why": "a test"}]}


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the libraries of Standard Webhooks."""
    key = key_of(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_key_is_read_and_a_wrong_one_told() -> None:
    assert key_of(bytes(range(200, 232))) == bytes(range(200, 232))
    for secret, words in ((b"whsec_%%%", "no base64"), (b"short", "5 bytes")):
        with pytest.raises(InvalidArgument, match=words):
            key_of(secret)


def test_a_body_of_bytes_is_base64() -> None:
    assert json.loads(body_of({**MESSAGE, "body": b"\xff"}))["body_base64"] == "/w=="
    assert json.loads(body_of(MESSAGE))["body"] == "grüße"


class Mail:
    """The mailbox of the carrier: one message, until it is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.told: list[tuple[str, str, dict[str, Any]]] = []

    async def watch(self, after: int, topic: str | None) -> AsyncIterator[dict[str, Any]]:
        if topic == "chat" and not self.acknowledged:
            yield MESSAGE

    def acknowledge(self, positions: list[int]) -> int:
        self.acknowledged += positions
        return len(positions)

    def send(self, to: str, body: str, **more: Any) -> dict[str, Any]:
        self.told.append((to, body, more))
        return {}


class Fetch:
    def __init__(self, *answers: int | None) -> None:
        self.answers = list(answers)
        self.posted: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        self.posted.append(more)
        status = self.answers.pop(0)
        if status is None:
            raise Unavailable("hook.example.org cannot be reached")
        return {"status": status}


@pytest.mark.parametrize(
    ("answers", "is_told"), [((200,), False), ((None, 503, 204), False), ((410,), True)]
)  # fmt: skip
def test_it_is_acknowledged_when_the_hook_took_it_or_never_will(
    answers: tuple[int | None, ...], is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.setattr("tlsrt.loops.external.carrier.FIRST_S", 0.01)
    mail, fetch = Mail(), Fetch(*answers)

    async def work() -> None:
        async with running(
            Webhooks, options={"hooks": {"chat": {"url": "https://hook.example.org/"}}}, address="external/webhooks",
            needs=NEEDS, secrets={"key": KEY}, peers={"external/messages": mail, "external/fetch": fetch},
        ):  # fmt: skip
            async with asyncio.timeout(30):
                while not mail.acknowledged:
                    await asyncio.sleep(0.01)

    asyncio.run(work())
    assert mail.acknowledged == [MESSAGE["position"]] and len(fetch.posted) == len(answers)
    assert [(to, more["in_reply_to"]) for to, _, more in mail.told] == [("client/anna", MESSAGE["id"])] * is_told
    posted = fetch.posted[-1]
    headers = posted["headers"]
    text = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), posted["body"])
    expected = base64.b64encode(hmac.digest(KEY, text, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
