"""Tokens: genuine ones verify once, everything else is refused with its reason."""

from __future__ import annotations

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fakes.memory_host import MemoryHost

from tlsrt.channels.session.token import (
    DOMAIN,
    PREFIX_BYTES,
    TokenVerifier,
    check_claims,
    encode_claims,
    mint_token,
    parse_claims_untrusted,
)
from tlsrt.config import key_schedule
from tlsrt.errors import PeerError

WORLD = MemoryHost()
KEY = key_schedule.token_key(WORLD.run, WORLD.epoch)


def reason(token: bytes, verifier: TokenVerifier | None = None) -> str:
    with pytest.raises(PeerError) as caught:
        (verifier or WORLD.make_verifier().tokens).verify_untrusted(token)
    return caught.value.reason


def test_round_trip() -> None:
    claims = WORLD.claims("third/console")
    assert parse_claims_untrusted(encode_claims(claims)) == claims
    assert WORLD.make_verifier().tokens.verify_untrusted(WORLD.token("third/console")) == claims


def test_verified_once_however_often_it_comes_and_however_it_is_wrapped() -> None:
    tokens = WORLD.make_verifier().tokens
    token = WORLD.token("third/console")
    for _ in range(100):
        tokens.verify_untrusted(token)
    opened = AESGCM(KEY).decrypt(token[13:25], token[25:], DOMAIN + token[:25])
    for number in range(100):
        prefix = token[:13] + number.to_bytes(12, "big")
        tokens.verify_untrusted(prefix + AESGCM(KEY).encrypt(prefix[13:], opened, DOMAIN + prefix))
    assert tokens.signatures_verified == 1


def test_memory_is_bounded() -> None:
    tokens = TokenVerifier(capacity=8)
    tokens.set_issuer(1, WORLD.issuer.public_key().public_bytes_raw())
    tokens.set_key(WORLD.epoch, KEY)
    for number in range(50):
        tokens.verify_untrusted(WORLD.token("third/console", token_id=number.to_bytes(16, "big")))
    assert len(tokens._wrapped) == len(tokens._unwrapped) == 8


def test_a_token_that_is_wrapped_in_ever_new_ways_takes_no_more_memory() -> None:
    token = WORLD.token("third/console")
    tokens = WORLD.make_verifier().tokens
    tokens._wrapped.size_max = 5 * len(token) + 1
    opened = AESGCM(KEY).decrypt(token[13:25], token[25:], DOMAIN + token[:25])
    for number in range(50):
        prefix = token[:13] + number.to_bytes(12, "big")
        tokens.verify_untrusted(prefix + AESGCM(KEY).encrypt(prefix[13:], opened, DOMAIN + prefix))
    assert len(tokens._wrapped) == 5 and tokens._wrapped._size == 5 * len(token)
    tokens.drop_epoch(WORLD.epoch)
    assert len(tokens._wrapped) == len(tokens._unwrapped) == tokens._wrapped._size == tokens._unwrapped._size == 0


def test_tokens_of_a_session_that_ended_go_and_no_others() -> None:
    tokens = TokenVerifier(capacity=8)
    tokens.set_issuer(1, WORLD.issuer.public_key().public_bytes_raw())
    tokens.set_key(WORLD.epoch, KEY)
    for number in range(50):  # most have made room by then, some for tokens of their own session
        session = bytes((number % 3,)) * 16
        tokens.verify_untrusted(WORLD.token("third/console", token_id=number.to_bytes(16, "big"), session=session))
    tokens.forget_sessions([bytes((1,)) * 16, bytes((9,)) * 16])
    assert len(tokens._wrapped) == len(tokens._unwrapped) == 5  # of 42 to 49
    tokens.forget_sessions([bytes((0,)) * 16, bytes((2,)) * 16])
    assert len(tokens._wrapped) == tokens._wrapped._size == len(tokens._wrapped._keys) == 0


def test_every_flipped_byte_is_refused() -> None:
    token = WORLD.token("third/console")
    for index in range(len(token)):
        bad = bytearray(token)
        bad[index] ^= 0x40
        assert reason(bytes(bad)) in (
            "token_version", "token_key_version", "token_epoch", "token_forged",
        )  # fmt: skip


def test_every_length_is_refused() -> None:
    token = WORLD.token("third/console")
    for length in range(len(token)):
        with pytest.raises(PeerError):
            WORLD.verifier.tokens.verify_untrusted(token[:length])


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        (mint_token(WORLD.claims("third/console"), Ed25519PrivateKey.generate().sign, KEY, bytes(12), 1),
         "token_signature"),
        (mint_token(WORLD.claims("third/console"), lambda data: bytes(64), KEY, bytes(12), 1), "token_signature"),
        (mint_token(WORLD.claims("third/console"), lambda data: WORLD.issuer.sign(data[1:]), KEY, bytes(12), 1),
         "token_signature"),
        (mint_token(WORLD.claims("third/console"), WORLD.issuer.sign, KEY, bytes(12), 2), "token_key_version"),
        (mint_token(WORLD.claims("third/console"), WORLD.issuer.sign, bytes(32), bytes(12), 1), "token_forged"),
        (WORLD.token("third/console", epoch=WORLD.epoch + 1), "token_epoch"),
        (bytes(PREFIX_BYTES), "token_size"),
    ],
)  # fmt: skip
def test_forged(token: bytes, wanted: str) -> None:
    assert reason(token) == wanted


def test_a_captured_loop_cannot_move_a_token_into_another_epoch() -> None:
    tokens = WORLD.make_verifier().tokens
    other = key_schedule.token_key(WORLD.run, 8)
    tokens.set_key(8, other)
    token = WORLD.token("third/console")
    opened = AESGCM(KEY).decrypt(token[13:25], token[25:], DOMAIN + token[:25])
    prefix = token[:5] + (8).to_bytes(8, "big") + bytes(12)
    assert reason(prefix + AESGCM(other).encrypt(bytes(12), opened, DOMAIN + prefix), tokens) == "token_epoch"


def _wrap(packed: bytes) -> bytes:
    prefix = bytes([1]) + (1).to_bytes(4, "big") + WORLD.epoch.to_bytes(8, "big") + bytes(12)
    return prefix + AESGCM(KEY).encrypt(bytes(12), WORLD.issuer.sign(DOMAIN + packed) + packed, DOMAIN + prefix)


def test_signed_but_malformed_claims_are_refused() -> None:
    good = list(msgpack.unpackb(encode_claims(WORLD.claims("third/console"))))
    for packed in (
        b"\xc0",
        msgpack.packb({"subject": "x"}),
        msgpack.packb(good[:11]),
        msgpack.packb([*good, 1]),
        msgpack.packb([*good[:11], [["secondary/store"]]]),
        msgpack.packb([*good[:11], [["secondary/store", [1]]]]),
        msgpack.packb([*good[:4], b"short", *good[5:]]),
        msgpack.packb([*good[:6], -1, *good[7:]]),
        msgpack.packb([*good[:6], True, *good[7:]]),
        b"\x91" * 10_000 + b"\xc0",
    ):
        assert reason(_wrap(packed)) == "bad_claims"


@pytest.mark.parametrize(
    ("offset", "wanted"),
    [(-1, "token_not_yet"), (0, ""), (59_999, ""), (60_000, "token_expired"), (60_001, "token_expired")],
)
def test_time_at_the_edges(offset: int, wanted: str) -> None:
    claims = WORLD.claims("third/console")
    if not wanted:
        check_claims(claims, WORLD.now + offset, WORLD.install, WORLD.boot)
        return
    with pytest.raises(PeerError, match=wanted):
        check_claims(claims, WORLD.now + offset, WORLD.install, WORLD.boot)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"boot": bytes(16)}, "token_boot"),
        ({"install": bytes(16)}, "token_install"),
        ({"expires": WORLD.now + 3_600_000}, "token_lifetime"),
        ({"issued": WORLD.now + 70_000}, "token_lifetime"),
    ],
)
def test_other_host_or_absurd_life(changes: dict[str, object], wanted: str) -> None:
    with pytest.raises(PeerError, match=wanted):
        check_claims(WORLD.claims("third/console", **changes), WORLD.now, WORLD.install, WORLD.boot)


def test_dropping_an_epoch_forgets_what_was_verified_in_it() -> None:
    tokens = WORLD.make_verifier().tokens
    token = WORLD.token("third/console")
    tokens.verify_untrusted(token)
    tokens.drop_epoch(WORLD.epoch)
    assert reason(token, tokens) == "token_epoch"


def test_rights() -> None:
    claims = WORLD.claims("x/y", caps=(("a/b", ("get",)), ("a/c", ("*",)), ("a/d", ())))
    assert claims.allows("a/b", "get")
    assert claims.allows("a/b", "describe")
    assert claims.allows("a/c", "anything")
    assert not claims.allows("a/b", "put")
    assert not claims.allows("a/d", "get")
    assert not claims.allows("a/e", "describe")
