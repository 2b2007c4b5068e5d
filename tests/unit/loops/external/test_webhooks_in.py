"""Webhooks that come in, without a network: signatures, requests byte by byte, rates, and what options are refused."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from fakes.own_certificate import server_context
from hypothesis import given
from hypothesis import strategies as st

from tlsrt import ConfigError, Failed, load_key_pair
from tlsrt.loops.external.address_rates import AddressRates, subject_of
from tlsrt.loops.external.body_room import BodyRoom
from tlsrt.loops.external.hook_request import BadRequestError, HookRequest, HookRequestReader
from tlsrt.loops.external.hook_server import HookAnswer
from tlsrt.loops.external.hook_signature import (
    NotGenuineError,
    keys_of,
    verify_github_untrusted,
    verify_standard_untrusted,
)
from tlsrt.loops.external.webhooks import signed_headers
from tlsrt.loops.external.webhooks_in import MESSAGES, WebhooksIn
from tlsrt.testing import running_sync

# The example of the libraries of Standard Webhooks.
KEY, AT = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": ["msg_p5jXN8AQM9LWM0D4loKWxJek"], "webhook-timestamp": [str(AT)],
    "webhook-signature": ["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
}  # fmt: skip


@pytest.mark.parametrize(("off_s", "is_good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_the_example_of_the_specification_within_its_tolerance(off_s: int, is_good: bool) -> None:
    keys = keys_of(b"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n" + KEY + b"\n")  # two keys
    if is_good:
        assert verify_standard_untrusted(keys, HEADERS, BODY, AT + off_s).unique == "id msg_p5jXN8AQM9LWM0D4loKWxJek"
    else:
        with pytest.raises(NotGenuineError, match="s ago"):
            verify_standard_untrusted(keys, HEADERS, BODY, AT + off_s)


def test_the_example_of_github() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": [signature], "x-github-event": ["push"]}
    genuine = verify_github_untrusted([b"It's a Secret to Everybody"], headers, b"Hello, World!", 0)
    assert genuine.event == "push"
    with pytest.raises(NotGenuineError):
        verify_github_untrusted([b"It's a Secret to Everyone!"], headers, b"Hello, World!", 0)


@pytest.mark.parametrize("secret", [b"", b"\n\n", b"short", b"whsec_%%%", b"whsec_AAAA", b"\n".join([b"k" * 32] * 5)])
def test_keys_that_are_none(secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"key|base64"):
        keys_of(secret)
    assert keys_of(KEY.rstrip(b"=") + b"\r\n") == keys_of(KEY)


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_a_request_is_the_same_whole_or_in_pieces(step: int) -> None:
    data = b"POST /a HTTP/1.1\r\nHost: b\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    reader = HookRequestReader(3)
    for at in range(0, len(data), step):
        assert reader.receive_untrusted(data[at : at + step]) is None
    assert reader.interim().startswith(b"HTTP/1.1 100") and reader.interim() == b""
    read = reader.receive_untrusted(b"abc")
    assert read is not None and (read.method, read.target, read.body) == ("POST", "/a", b"abc")
    assert read.headers["x-a"] == ["1", "2"]


@pytest.mark.parametrize(
    ("lines", "status"),
    [(b"Content-Length: 4", 413), (b"Transfer-Encoding: chunked", 411), (b"X: 1", 411), (b"Content-Length: x", 400)],
)  # fmt: skip
def test_a_request_that_is_refused_before_its_body(lines: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as caught:
        HookRequestReader(3).receive_untrusted(b"POST /a HTTP/1.1\r\nHost: b\r\n" + lines + b"\r\n\r\n")
    assert caught.value.status == status
    with pytest.raises(BadRequestError):
        HookRequestReader(3).receive_untrusted(b"")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60))
def test_bodies_have_a_room_and_the_greedy_one_leaves_it(steps: list[tuple[int, int]]) -> None:
    room = BodyRoom(100)
    held: dict[int, int] = {}
    for key, more in steps:
        held[key] = held.get(key, 0) + more
        for ended in room.hold(key, str(key % 3), held[key]):
            of = {name: sum(size for one, size in held.items() if one % 3 == name) for name in range(3)}
            assert isinstance(ended, int) and of[ended % 3] == max(of.values())
            del held[ended]
        assert room.held_bytes == sum(held.values()) <= 100
    for key in range(10):
        room.let_go(key)
    assert room.held_bytes == 0


def test_an_address_has_its_own_tokens() -> None:
    rates = AddressRates(per_s=1, burst=2)
    assert [rates.take("a", 0), rates.take("a", 0), rates.take("a", 0), rates.take("b", 0)] == [True, True, False, True]
    assert [rates.take("a", 1), rates.take("a", 1)] == [True, False]
    assert subject_of("2001:db8::1") == subject_of("2001:db8::2") == "2001:db8::/64"
    assert (subject_of("::ffff:192.0.2.1"), subject_of("fe80::1%eth0")) == ("192.0.2.1", "fe80::/64")


@pytest.mark.parametrize(
    ("hooks", "words"),
    [
        ({"a b": {"to": "client/anna"}}, "is no name"),
        ({"a": {"to": "anna"}}, "client/NAME"),
        ({"a": {"to": "client/anna", "path": "/a/../b"}}, "is no path"),
        ({"a": {"to": "client/anna", "path": "/b"}, "b": {"to": "client/anna", "secret": "b"}}, "has the path of a"),
        ({"a": {"to": "client/anna"}, "b": {"to": "client/anna"}}, "has the secret of a"),
        ({"a": {"to": "client/anna", "topic": "a b"}}, "is no topic"),
    ],
)  # fmt: skip
def test_options_that_are_refused(hooks: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words), receiver(tmp_path, hooks):
        pass


class Receiver(WebhooksIn):
    """Listens to no network."""

    async def _serve(self) -> None:
        await asyncio.Event().wait()

    def wall_s(self) -> int:
        return AT


class Mail:
    """Keeps what is sent; `broken` says why not."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str | bytes, dict[str, Any]]] = []
        self.broken = ""

    def send(self, to: str, body: str | bytes, **more: Any) -> dict[str, Any]:
        if self.broken:
            raise Failed(self.broken)
        self.sent.append((to, body, more))
        return {}


def receiver(folder: Path, hooks: dict[str, Any], mail: Mail | None = None, **secrets: bytes) -> Any:
    server_context(folder)
    pair = (folder / "key.pem").read_bytes() + (folder / "ca.pem").read_bytes()
    given = {"tls": pair, "key": KEY, "b": b"a key of another hook", **secrets}
    needs = {"state_mb": 16, "secrets": [{"name": name, "why": "a test"} for name in given]}
    return running_sync(
        Receiver, options={"hooks": hooks}, peers={MESSAGES: mail or Mail()}, needs=needs, secrets=given, state=folder,
        address="external/webhooks_in",
    )  # fmt: skip


def posted(id: str, body: bytes = BODY, path: str = "/shop", method: str = "POST") -> HookRequest:
    headers = signed_headers(keys_of(KEY)[0], id, AT, body)
    return HookRequest(method, path, {name: [value] for name, value in headers.items()}, body)


def test_a_delivery_is_one_message_and_put_off_while_messages_are_full(tmp_path: Path) -> None:
    mail = Mail()
    hooks = {"shop": {"to": "client/anna", "per_minute": 3}}
    with receiver(tmp_path, hooks, mail) as it:
        take = it.component._take
        mail.broken = "the mailbox of client/anna is full"
        assert it.run(take(posted("1"))) == HookAnswer(503, 30)
        mail.broken = ""
        assert [it.run(take(posted("1"))).status for _ in range(2)] == [200, 200]
        assert [it.run(take(posted(id))).status for id in ("2", "3")] == [200, 429]
        refused = [posted("4", path="/other"), posted("5", method="GET")]
        assert [it.run(take(one)).status for one in refused] == [403, 403]
        shown = it.call("hooks")["shop"]
    assert [shown[what] for what in ("taken", "repeated", "put_off", "refused")] == [2, 1, 2, 0]
    assert [(to, body, more["topic"]) for to, body, more in mail.sent] == [("client/anna", BODY.decode(), "shop")] * 2
    with receiver(tmp_path, hooks, mail) as it:
        assert it.run(it.component._take(posted("1"))).status == 200
    assert len(mail.sent) == 2, "what was taken is known after a restart"


def test_deliveries_that_are_long_gone_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.loops.external.taken_deliveries.REMEMBERED", 4)
    monkeypatch.setattr("tlsrt.loops.external.taken_deliveries._PRUNE_EACH", 8)
    mail = Mail()
    with receiver(tmp_path, {"shop": {"to": "client/anna"}}, mail) as it:
        for number in range(16):
            it.run(it.component._take(posted(str(number))))
        [row] = it.run(it.component.db.read("select count(*), min(number) from taken"))
    assert tuple(row) == (4, 13)


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ({"tls": b"-----BEGIN PRIVATE KEY-----"}, "the secret tls is no private key"),
        ({"key": b"short"}, "the secret key has no keys of a webhook: a key has 5 bytes"),
        ({"b": KEY}, "hooks shop and b have the same key"),
    ],
)
def test_a_wrong_secret_is_one_sentence(tmp_path: Path, secrets: dict[str, bytes], words: str) -> None:
    hooks = {"shop": {"to": "client/anna"}, "b": {"to": "client/anna", "secret": "b"}}
    with pytest.raises(ConfigError, match=words), receiver(tmp_path, hooks, None, **secrets):
        pass


def test_a_pair_is_loaded_and_no_readable_key_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server_context(tmp_path)
    key, scratch = (tmp_path / "key.pem").read_bytes(), tmp_path / "scratch"
    scratch.mkdir()
    seen: list[bytes] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, path: Path, **more: Any) -> None:
        seen.append(Path(path).read_bytes())
        load(self, path, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_key_pair(context, key + (tmp_path / "ca.pem").read_bytes(), scratch)
    assert key.split(b"\n")[1] not in seen[0] and b"ENCRYPTED" in seen[0] and not list(scratch.iterdir())
    with pytest.raises(ValueError, match="no private key"):
        load_key_pair(context, key, scratch)
