"""Attacked sentence: header, token, body and proof are one; parts of two frames, or of two sessions, are nothing."""

from __future__ import annotations

from itertools import product

import pytest
from attackers.arena import CONSOLE, VICTIM, Arena, changed, header_of, request_body, seal
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.frame import Frame, nonce, pack_frame, parse_frame_untrusted, proof_data

PARTS = Frame._fields
MIXTURES = [choice for choice in product((0, 1), repeat=4) if len(set(choice)) == 2]


def mixed(first: bytes, second: bytes, choice: tuple[int, ...]) -> bytes:
    """Return a frame whose parts come from the first or the second."""
    frames = (parse_frame_untrusted(first), parse_frame_untrusted(second))
    return pack_frame(*(frames[number][part] for part, number in enumerate(choice)))


def name(choice: tuple[int, ...]) -> str:
    return ",".join(f"{part} of {'AB'[number]}" for part, number in zip(PARTS, choice, strict=True))


@pytest.mark.parametrize("choice", MIXTURES, ids=name)
def test_parts_of_frames_of_two_loops_do_not_join(arena: Arena, choice: tuple[int, ...]) -> None:
    header, token = choice[:2]
    arena.third.send(mixed(arena.third.genuine(), arena.external.genuine(VICTIM, "value"), choice))
    reason = "wrong_session" if header != token else "foreign_session" if header else "proof_forged"
    arena.refused(reason, told=["rejected"] if not header else [])


@pytest.mark.parametrize("choice", MIXTURES, ids=name)
def test_parts_of_two_frames_of_one_session_do_not_join(arena: Arena, choice: tuple[int, ...]) -> None:
    header, _, body, proof = choice
    arena.third.send(mixed(arena.third.genuine(), arena.third.genuine(), choice))
    if header == body == proof:  # the token is the same in both, so this one is whole
        arena.total += 1
        arena.refused(told=[])
    else:
        arena.refused("proof_forged", told=["rejected"])


@pytest.mark.parametrize("choice", [choice for choice in MIXTURES if choice[0] != choice[1]], ids=name)
def test_parts_of_frames_of_two_components_of_the_same_loop_do_not_join(arena: Arena, choice: tuple[int, ...]) -> None:
    """The socket is the same, and one session is known to the gate: the keys are what tells them apart."""
    held = arena.third.session(CONSOLE)
    header = changed(arena.third.header(), src=CONSOLE, session=held["session"], seq=1 << 20)
    other = seal(header, request_body(1), token=held["token"], body_key=bytes(32), proof_key=held["proof_key"])
    arena.third.send(mixed(arena.third.genuine(), other, choice))
    arena.refused("wrong_session")


def test_a_body_of_another_frame_under_a_fresh_proof_is_refused_by_the_recipient(arena: Arena) -> None:
    """The gate sees tags only: whoever holds the proof key passes it, and fails at the body."""
    old, new = (parse_frame_untrusted(arena.third.genuine()) for _ in range(2))
    proof_key = AESGCM(arena.third.session()["proof_key"])
    proof = proof_key.encrypt(nonce(header_of(pack_frame(*new)).seq), b"", proof_data(new.header, new.token, old.body))
    arena.third.send(pack_frame(new.header, new.token, old.body, proof))
    arena.refused("body_forged", by="secondary")
