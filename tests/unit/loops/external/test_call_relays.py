"""Servers of browsers: their URIs, and credentials that end."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from tlsrt.loops.external.call_options import CallsOptions
from tlsrt.loops.external.call_relays import UNSET, Relays, check_server, credentials

SECRET = b"a-long-term-secret"
TURN = "turns:relay.example.org:443?transport=tcp"


@pytest.mark.parametrize(
    "uri", ["stun:relay.example.org", "stun:192.0.2.1:3478", "turn:[2001:db8::1]:3478?transport=udp", TURN]
)
def test_servers_are_taken(uri: str) -> None:
    check_server(uri)
    assert CallsOptions(servers=[uri]).servers == [uri]


@pytest.mark.parametrize(
    "uri",
    [
        "relay.example.org", "turn:", "turn:a b", "turn:x:0", "turn:x:65536", "turn:x?transport=sctp",
        "stun:x?transport=tcp", "https://x", "turn:user@x", "turn:x\n", "turn:\u0131.example",
    ],
)  # fmt: skip
def test_what_is_no_server_is_refused_in_a_sentence(uri: str) -> None:
    with pytest.raises(ValueError, match="write stun:HOST"):
        CallsOptions(servers=[uri])


def test_credentials_are_of_one_name_and_end() -> None:
    user, password = credentials(SECRET, "client/anna", 1_000)
    assert user == "4600:client/anna"
    assert base64.b64decode(password) == hmac.new(SECRET, user.encode(), hashlib.sha1).digest()
    assert credentials(SECRET, "client/ben", 1_000)[1] != password
    assert credentials(SECRET, "client/anna", 1_001)[1] != password


def test_the_secret_is_told_to_no_one() -> None:
    told = Relays(["stun:x", TURN], lambda: SECRET + b"\n").of("client/anna", 1_000)
    assert [one["urls"] for one in told["ice_servers"]] == [["stun:x"], [TURN]]
    assert told["ice_servers"][1]["username"] == "4600:client/anna" and told["until_ms"] == 4_600_000
    assert SECRET.decode() not in str(told)


@pytest.mark.parametrize("secret", [None, b"", b"short", b"x" * 257])
def test_without_a_secret_servers_of_turn_are_not_told(secret: bytes | None) -> None:
    relays = Relays(["stun:x", TURN], lambda: secret)
    assert relays.wrong == UNSET
    assert relays.of("client/anna", 1_000)["ice_servers"] == [{"urls": ["stun:x"]}]
    assert "no TURN server" in relays.no_sound()


def test_a_host_without_servers_asks_for_no_secret() -> None:
    def asked() -> bytes | None:
        raise AssertionError

    relays = Relays([], asked)
    assert relays.wrong == "" and relays.of("client/anna", 1)["ice_servers"] == []
