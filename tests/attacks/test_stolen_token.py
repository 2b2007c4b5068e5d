"""Attacked sentence: a stolen token is worthless, with its session id or without, on any socket."""

from __future__ import annotations

import pytest
from attackers.arena import CONSOLE, FOREIGN, THIEF, VICTIM, Arena, changed, request_body
from attackers.tls_peer import open_session

from tlsrt.channels.frames.frame import pack_frame, parse_frame_untrusted


def test_another_loops_token_under_ones_own_session(arena: Arena) -> None:
    frame = arena.third.forge(arena.third.header(), request_body(1), token=arena.external.token)
    arena.third.send(frame)
    arena.refused("wrong_session", told=["rejected"])


def test_another_loops_token_and_session_id_from_ones_own_socket(arena: Arena) -> None:
    """Even with the keys: a loop that gave them away has not given away its socket."""
    header = arena.external.header(VICTIM, "value")
    arena.third.send(arena.external.forge(header, request_body()))
    arena.refused("foreign_session")


def test_another_loops_session_that_the_gate_knows_by_its_own_socket(arena: Arena) -> None:
    arena.external.send(arena.external.genuine(VICTIM, "value"))
    arena.unharmed()
    arena.mark()
    arena.third.send(arena.external.genuine(VICTIM, "value"))
    arena.refused("session_elsewhere")


@pytest.mark.parametrize("key", ["no key", "the thief's own proof key", "the wrapping key of all tokens"])
def test_a_token_of_the_same_loop_without_its_key(arena: Arena, key: str) -> None:
    """The socket is right and the token is good; only the session's proof key is missing."""
    held, loot = arena.third.session("third/io"), arena.third.loot
    chosen = {
        "no key": bytes(32),
        "the thief's own proof key": arena.third.session()["proof_key"],
        "the wrapping key of all tokens": loot["token_keys"][str(loot["epoch"])],
    }[key]
    header = changed(arena.third.header(), session=held["session"], src="third/io")
    arena.third.send(arena.third.forge(header, request_body(1), token=held["token"], proof_key=chosen))
    arena.refused("proof_forged")


def test_a_token_with_no_proof_at_all(arena: Arena) -> None:
    frame = parse_frame_untrusted(arena.third.genuine())
    arena.third.send(pack_frame(frame.header, frame.token, frame.body, b""))
    arena.refused("proof_forged", told=["rejected"])


def test_a_token_that_belongs_to_another_subject_of_the_same_session_id(arena: Arena) -> None:
    arena.third.send(arena.third.forge(arena.third.header(src=CONSOLE), request_body(1)))
    arena.refused("wrong_source")


def test_a_clients_token_from_inside(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer:
        header = changed(
            arena.third.header(), src="client/admin", session=peer.content.session, epoch=peer.content.epoch
        )
        arena.third.send(
            arena.third.forge(
                header, request_body(1), token=peer.content.token, proof_key=peer.content.proof_key,
                body_key=peer.right(VICTIM).key,
            )
        )  # fmt: skip
        arena.refused("wrong_certificate")


def test_a_token_that_was_wrapped_anew_is_still_the_others(arena: Arena) -> None:
    """Every loop holds the key that wraps tokens: it unwraps what it is shown, and can wrap it again. So what."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from tlsrt.channels.session.token import DOMAIN, PREFIX_BYTES

    loot, token = arena.third.loot, arena.external.token
    key = AESGCM(loot["token_keys"][str(loot["epoch"])])
    plain = key.decrypt(token[13:PREFIX_BYTES], token[PREFIX_BYTES:], DOMAIN + token[:PREFIX_BYTES])
    prefix = token[:13] + bytes(12)
    again = prefix + key.encrypt(bytes(12), plain, DOMAIN + prefix)
    arena.third.send(arena.third.forge(arena.third.header(), request_body(1), token=again))
    arena.refused("wrong_session", told=["rejected"])
    changed_claims = plain[:64] + plain[64:].replace(FOREIGN.encode(), THIEF.encode() + b"   ")
    forged = prefix + key.encrypt(bytes(12), changed_claims, DOMAIN + prefix)
    arena.third.send(arena.third.forge(arena.third.header(), request_body(1), token=forged))
    arena.refused("token_signature", told=["rejected"])
