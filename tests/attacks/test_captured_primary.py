"""Attacked sentence: a captured Primary can drop and delay messages, and see who calls whom; nothing else.

An attacker sits in Primary itself: it holds every key that was ever used there, sees every frame, and writes to every
loop and client past the gate.
"""

from __future__ import annotations

import json
import os
import secrets
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from attackers.arena import IN_PRIMARY, STAGE, VICTIM, Arena, header_of, request_body, seal
from attackers.captured_frames import deliver, exchange, seen, stolen
from attackers.tls_peer import TlsPeer, open_session, request
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hosts.running_host import RunningHost, running

from tlsrt.channels.client.enroll import enroll
from tlsrt.channels.client.sync_client import Client
from tlsrt.channels.frames.frame import Frame, FrameKind, pack_frame, pack_header, parse_frame_untrusted
from tlsrt.channels.session.enrolment import EnrolmentAnswer, JoinCode, encode_answer, parse_code
from tlsrt.channels.session.grant import (
    Open,
    encode_open,
    open_digest,
    open_grant_untrusted,
    parse_open_untrusted,
    seal_grant,
    sign_open,
)
from tlsrt.channels.session.opening import identity_of
from tlsrt.channels.tls.message_stream import Control, encode_control
from tlsrt.config import pki
from tlsrt.config.bundle import Bundle
from tlsrt.errors import EX_UNAVAILABLE, ConfigError, OutcomeUnknown, PeerError, Rejected
from tlsrt.supervisor.control.client import ControlClient


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """Two more clients: both absent, one of them enrolled for HTTP."""
    yield from running(request, **STAGE, clients=["guest", "web"], http=["web"])


# -- reading ---------------------------------------------------------------------------------------------------


def test_it_reads_what_is_said_to_its_own_components(arena: Arena) -> None:
    """The check of the attack: with these keys it does open what is its own."""
    seen(arena, lambda header: False)
    arena.client.call("primary/events", "recent", 1 << 40)  # none, so that the answer is small
    frames = seen(arena, lambda header: "primary/events" in (header.src, header.dst))
    assert len(frames) == 2
    assert [arena.client.call(IN_PRIMARY, "try_keys", frame) for frame in frames] == [1, 1]


def test_it_does_not_read_what_is_said_to_a_component_of_its_loop_in_another_process(arena: Arena) -> None:
    seen(arena, lambda header: False)
    arena.client.call("primary/kernel", "uname")
    frames = seen(arena, lambda header: "primary/kernel" in (header.src, header.dst))
    assert len(frames) == 2
    assert [arena.client.call(IN_PRIMARY, "try_keys", frame) for frame in frames] == [0, 0]


def test_no_key_that_it_holds_opens_a_body_between_two_loops(arena: Arena) -> None:
    for frame in exchange(arena):
        assert arena.client.call(IN_PRIMARY, "try_keys", frame) == 0


def test_no_key_that_it_holds_opens_what_a_client_says_to_another_loop(arena: Arena) -> None:
    seen(arena, lambda header: False)
    arena.client.call(VICTIM, "value")
    frames = seen(arena, lambda header: VICTIM in (header.src, header.dst) and header.method == "value")
    assert len(frames) == 2
    assert [arena.client.call(IN_PRIMARY, "try_keys", frame) for frame in frames] == [0, 0]


def test_a_grant_is_sealed_for_the_client_alone(arena: Arena) -> None:
    """It saw open and grant pass. Without the ephemeral key of the client they are noise, and hold no key in clear."""
    with open_session(arena.host, "admin") as peer:
        number, ciphertext, signature = peer.grant
        secrets = [right.key for right in peer.content.rights] + [peer.content.proof_key, peer.content.token]
        assert len(secrets) > 5
        assert not any(secret in ciphertext for secret in secrets)
        issuer, digest = peer.identity.issuer.key, open_digest(peer.open_data)
        for key in (X25519PrivateKey.generate(), *map(X25519PrivateKey.from_private_bytes, stolen(arena)[:64])):
            with pytest.raises(PeerError, match="grant_sealing"):
                open_grant_untrusted(key, digest, issuer, 0, number, ciphertext, signature)


# -- forging ---------------------------------------------------------------------------------------------------


def test_it_forges_no_request_in_the_name_of_a_loop(arena: Arena) -> None:
    asked, _ = exchange(arena)
    frame, header = parse_frame_untrusted(asked), header_of(asked)
    forged = [
        seal(header._replace(seq=header.seq + number), request_body(1), token=frame.token, body_key=key, proof_key=key)
        for number, key in enumerate(stolen(arena)[:4], 1)
    ]
    arena.room(len(forged))
    deliver(arena, "secondary", *forged)
    arena.refused(*["body_forged"] * 4, by="secondary")


def test_none_of_its_keys_forges_a_request(arena: Arena) -> None:
    asked, _ = exchange(arena)
    frame, header = parse_frame_untrusted(asked), header_of(asked)
    found = stolen(arena)
    for number, key in enumerate(found, 1):
        ahead = header._replace(seq=header.seq + number)
        deliver(arena, "secondary", seal(ahead, request_body(1), token=frame.token, body_key=key, proof_key=key))
    arena.unharmed()
    arena.provoked["secondary"] += len(found)
    arena.settle()


def test_it_forges_no_reply_to_a_loop(arena: Arena) -> None:
    asked, answered = exchange(arena)
    frame, header = parse_frame_untrusted(answered), header_of(answered)
    assert header_of(asked).seq
    forged = [
        seal(header._replace(seq=header.seq + 1000), b"\x07", token=frame.token, body_key=key, proof_key=key)
        for key in stolen(arena)[:4]
    ]
    arena.room(len(forged))
    deliver(arena, "third", *forged)
    arena.client.call("third/io", "describe")
    arena.refused(*["body_forged"] * 4, by="third")


@pytest.mark.parametrize("part", ["header", "token", "body"])
def test_a_changed_frame_is_refused_by_the_recipient(arena: Arena, part: str) -> None:
    frame = parse_frame_untrusted(arena.third.genuine())
    parts = frame._asdict()
    parts[part] = parts[part][:-1] + bytes([parts[part][-1] ^ 1])
    deliver(arena, "secondary", pack_frame(*Frame(**parts)))
    arena.refused({"header": "body_forged", "token": "token_forged", "body": "body_forged"}[part], by="secondary")


def operator(arena: Arena, *words: str) -> None:
    """Run a command, again if its record took the disk longer than 250 ms: then nothing has changed."""
    for _ in range(5):
        done = arena.host.cli(*words)
        if done.returncode != EX_UNAVAILABLE:
            break
    assert done.returncode == 0, done


def test_it_keeps_for_a_client_no_right_that_was_taken(arena: Arena) -> None:
    """What the client sealed and Primary held back is of no use once `client set` has been answered."""
    bundle = str(arena.host.folder / "hand.tlsrt")
    operator(arena, "client", "add", "hand", "--allow", f"{VICTIM}: [add, value]", "--bundle", bundle)
    with open_session(arena.host, "hand") as peer:
        kept = request(peer, VICTIM, "add", 1, request_body(1))
        operator(arena, "client", "set", "hand", "--allow", f"{VICTIM}: value")
        assert peer.control() == Control("goodbye", ("ended",))
    arena.unharmed()
    deliver(arena, "secondary", kept)
    arena.refused("revoked", by="secondary")
    with open_session(arena.host, "hand") as peer:
        assert peer.right(VICTIM).methods == ("describe", "value")


def test_it_moves_no_request_to_another_recipient(arena: Arena) -> None:
    """A request for the victim, put before the store: by itself, and with the addressee changed."""
    asked = arena.third.genuine()
    frame, header = parse_frame_untrusted(asked), header_of(asked)
    deliver(arena, "external", asked)
    arena.client.call("external/network", "describe")
    arena.refused("not_mine", by="external")
    moved = pack_frame(pack_header(header._replace(dst="secondary/store")), frame.token, frame.body, frame.proof)
    deliver(arena, "secondary", moved)
    arena.refused("not_allowed", by="secondary")


def test_it_repeats_and_reorders_nothing(arena: Arena) -> None:
    first, second = arena.third.genuine(), arena.third.genuine()
    arena.room(2)
    deliver(arena, "secondary", second, first, second)
    arena.total += 1
    arena.refused("replay", "replay", by="secondary")


def test_it_delays_nothing_beyond_its_deadline(arena: Arena) -> None:
    header = arena.third.header()
    late = arena.third.forge(header._replace(deadline=arena.third.loot["now"]), request_body(1))
    deliver(arena, "secondary", late)
    arena.refused("deadline", by="secondary")


def test_it_calls_nobody_with_the_sessions_of_its_own_components(arena: Arena) -> None:
    """primary/events has a good session and token, and Primary the proof keys of all; but no line, so no key."""
    loot = arena.client.call(IN_PRIMARY, "loot")
    held = loot["sessions"]["primary/events"][-1]
    mailbox = arena.third.right(VICTIM)["mailbox"]
    header = arena.third.header()._replace(
        src="primary/events", session=held["session"], mailbox=mailbox, seq=1 << 20
    )  # fmt: skip
    for key in (held["mailbox_root"], held["proof_key"], bytes(32)):
        deliver(
            arena, "secondary",
            seal(header, request_body(1), token=held["token"], body_key=key, proof_key=held["proof_key"]),
        )  # fmt: skip
        arena.refused("not_allowed", by="secondary")


# -- towards clients -------------------------------------------------------------------------------------------


def test_a_client_takes_no_grant_but_the_issuers(arena: Arena) -> None:
    """It can send any bytes as a grant. The client ends the connection, and opens a session anew."""
    client = arena.host.client()
    client.call(VICTIM, "value")
    before = client.session_info["session"]
    impostor = Ed25519PrivateKey.generate()
    ephemeral = X25519PrivateKey.generate().public_key().public_bytes_raw()
    ciphertext, signature = seal_grant(b"keys", os.urandom(32), ephemeral, 1 << 40, impostor.sign)
    with pytest.raises(OutcomeUnknown):  # the client that says this is given the same, and drops its connection too
        arena.client.call(IN_PRIMARY, "grant", 1 << 40, ciphertext, signature)
    assert client.call(VICTIM, "value") == arena.total
    assert client.session_info["session"] != before
    client.close()
    arena.refused()


def test_a_client_takes_no_reply_but_the_recipients(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer:
        peer.send(request(peer, VICTIM, "value", 1, request_body()))
        answered = peer.frame()
    header, token = header_of(answered), parse_frame_untrusted(answered).token
    assert header.kind == FrameKind.REPLY
    forged = [
        seal(header._replace(seq=1 << 20), b"\x07", token=token, body_key=key, proof_key=key)
        for key in stolen(arena)[:16]
    ]
    arena.client.call(IN_PRIMARY, "deliver_to_clients", forged)
    arena.refused()


# -- opening sessions ------------------------------------------------------------------------------------------

NOBODY = 1 << 30  # a number that no connection has


def refused_open(arena: Arena, reason: str) -> None:
    arena.host.until(lambda _: f"was refused: {reason}" in arena.news("authority"), reason)
    arena.refused()


def subjects(arena: Arena) -> list[str]:
    """Whose sessions there are, as the operator sees it."""
    with ControlClient(arena.host.config.run_dir) as client:
        return [session["subject"] for session in client.ask("sessions")["sessions"]]


def der(arena: Arena, name: str) -> bytes:
    return identity_of(arena.host.bundle(name)).certificate


OWN = pki.make_ca(b"m" * 16, datetime.now(UTC))  # a key of its own, with a certificate
EPHEMERAL = X25519PrivateKey.generate()
SWAPS: dict[str, tuple[list[bytes], str]] = {
    "the key that the grant is sealed to": ([b"", EPHEMERAL.public_key().public_bytes_raw(), b""], "open_signature"),
    "that key, signed anew": ([b"", EPHEMERAL.public_key().public_bytes_raw(), OWN.key_pem], "open_signature"),
    "certificate, key and signature": (
        [ssl.PEM_cert_to_DER_cert(OWN.certificate_pem.decode()), EPHEMERAL.public_key().public_bytes_raw(),
         OWN.key_pem], "certificate_chain",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), SWAPS.values(), ids=SWAPS)
def test_it_swaps_no_key_in_an_open(arena: Arena, changes: list[bytes], reason: str) -> None:
    arena.client.call(IN_PRIMARY, "swap_in_opens", changes)
    try:
        with TlsPeer(arena.host, "guest") as peer:
            peer.send(encode_control("open", *peer.opening.answer_untrusted(*peer.challenge())))
            assert peer.control() == Control("refused", ("rejected",))
    finally:
        arena.client.call(IN_PRIMARY, "swap_in_opens", [])
    refused_open(arena, reason)
    with open_session(arena.host, "guest") as peer:  # the check of the attack: unchanged it passes
        assert peer.content.subject == "client/guest"


@pytest.mark.shared_door
def test_it_opens_no_session_for_a_client_that_is_not_there(arena: Arena) -> None:
    """It has seen the client's certificate, and even one of its opens; what it lacks is the client's key."""
    with open_session(arena.host, "guest") as peer:
        seen_open, wish = peer.open_data, parse_open_untrusted(peer.open_data)
        signature = peer.signature
    install, boot, challenge = arena.client.call(IN_PRIMARY, "challenge_for", NOBODY)
    public = EPHEMERAL.public_key().public_bytes_raw()
    forged = encode_open(Open(install, boot, challenge, der(arena, "guest"), public))
    own = sign_open(load_pem_private_key(OWN.key_pem, None), forged)
    arena.client.call(IN_PRIMARY, "say_to_authority", "open", [NOBODY, forged, own])
    refused_open(arena, "open_signature")
    arena.client.call(IN_PRIMARY, "challenge_for", NOBODY)
    assert wish.certificate == der(arena, "guest")
    arena.client.call(IN_PRIMARY, "say_to_authority", "open", [NOBODY, seen_open, signature])
    refused_open(arena, "challenge_unknown")
    assert "client/guest" not in subjects(arena)


@pytest.mark.parametrize(("name", "reason"), [("guest", "not_enrolled_for_http"), ("admin", "not_enrolled_for_http")])
def test_it_borrows_no_session_but_of_clients_for_http(arena: Arena, name: str, reason: str) -> None:
    arena.client.call(IN_PRIMARY, "borrow", NOBODY, der(arena, name))
    refused_open(arena, reason)


def test_it_can_act_as_a_client_for_http(arena: Arena) -> None:
    """The check of the attack before: what the threat model grants it."""
    arena.client.call(IN_PRIMARY, "borrow", NOBODY, der(arena, "web"))
    arena.host.until(lambda _: "client/web" in subjects(arena), "the borrowed session")
    arena.refused()


# -- enrolment -------------------------------------------------------------------------------------------------


def join_code(arena: Arena, name: str) -> JoinCode:
    said = arena.host.cli("client", "add", name, "--allow", "secondary/store: get", "--json")
    assert said.returncode == 0, said.stderr
    return parse_code(json.loads(said.stdout)["code"])


def join(arena: Arena, code: JoinCode) -> Bundle:
    path = arena.host.base / f"{secrets.token_hex(4)}.tlsrt"
    return enroll("127.0.0.1", arena.host.port, code, path)


@pytest.mark.shared_door
def test_it_is_not_enrolled_in_the_place_of_a_client(arena: Arena) -> None:
    """It sees all that passes: with its own key in the request, and with the genuine one again, it gets nothing."""
    code = join_code(arena, "late")
    arena.client.call(IN_PRIMARY, "swap_in_enrolments", pki.make_request()[0], b"")
    with pytest.raises(Rejected, match="refused this join code"):
        join(arena, code)
    arena.host.until(lambda _: "join_code_wrong" in arena.news("authority"), "the refusal")
    arena.client.call(IN_PRIMARY, "swap_in_enrolments", b"", b"")
    bundle = join(arena, code)  # the check of the attack: unchanged it passes
    passed = arena.client.call(IN_PRIMARY, "seen_enrolments")
    asked = next(fields for fields in reversed(passed) if len(fields) == 3)
    assert asked[0] == code.code_id and not any(code.secret in part for fields in passed for part in fields)
    arena.mark()
    arena.client.call(IN_PRIMARY, "say_to_authority", "enrol", [NOBODY, "127.0.0.1", *asked])
    arena.host.until(lambda _: "join_code_reused" in arena.news("authority"), "the refusal")
    with Client(bundle) as late:
        assert late.describe("secondary/store")


def test_it_gives_a_client_no_other_answer(arena: Arena) -> None:
    code = join_code(arena, "misled")
    certificate = ssl.PEM_cert_to_DER_cert(OWN.certificate_pem.decode())
    own = encode_answer(EnrolmentAnswer(b"m" * 16, "misled", certificate, b"i" * 32, 1, certificate))
    arena.client.call(IN_PRIMARY, "swap_in_enrolments", b"", own)
    try:
        with pytest.raises(ConfigError, match="was changed on its way"):
            join(arena, code)
    finally:
        arena.client.call(IN_PRIMARY, "swap_in_enrolments", b"", b"")


def test_a_grant_that_is_replayed_is_taken_by_nobody(arena: Arena) -> None:
    with open_session(arena.host, "guest") as peer, open_session(arena.host, "guest") as other:
        with pytest.raises(OutcomeUnknown):  # the client that says so is given the same, and drops its connection too
            arena.client.call(IN_PRIMARY, "grant", *peer.grant)
        for one, reason in ((peer, "grant_number"), (other, "grant_signature")):
            with pytest.raises(PeerError, match=reason):
                one.opening.accept_untrusted(*one.control().fields)
    assert arena.client.call(VICTIM, "value") == arena.total
    arena.refused()
