"""Attacked sentence: the world outside has one door, and who has come through it is only who the authority says.

Real TLS 1.3 with real certificates, and then what no honest client would send.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator

import msgpack
import pytest
from attackers.arena import STAGE, THIEF, VICTIM, Arena, header_of, request_body, seal
from attackers.tls_peer import TlsPeer, open_session, request
from hosts.host_files import issue_client
from hosts.running_host import RunningHost, running

from tlsrt.channels.client.connection import client_context
from tlsrt.channels.frames.frame import FRAME_MAX, FrameKind, pack_frame, parse_frame_untrusted
from tlsrt.channels.session.grant import Open, encode_open, parse_open_untrusted, sign_open
from tlsrt.channels.session.opening import identity_of
from tlsrt.channels.tls.message_stream import Control, encode_control

REJECTED, END = Control("refused", ("rejected",)), Control("", ())
DISMISSED = Control("goodbye", ("rejected",))


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """This module's host knows a second client, and has signed a third one that nobody has listed."""
    policy = {**STAGE["policy"], f"client/guest -> {VICTIM}": ["value"]}
    for made in running(request, **{**STAGE, "policy": policy}, clients=["guest"]):
        issue_client(made.folder, "stranger")
        yield made


def settled(peer: TlsPeer, seq: int) -> None:
    """Prove that the connection has been heard to here: an honest request on it is answered."""
    peer.send(request(peer, VICTIM, "value", seq, request_body()))
    while header_of(frame := peer.frame()).kind != FrameKind.REPLY:
        assert frame


# -- opening a session -----------------------------------------------------------------------------------------


def changed_open(peer: TlsPeer, **changes: bytes) -> tuple[bytes, bytes]:
    """Return an open whose fields were changed, well signed all the same."""
    data, _ = peer.opening.answer_untrusted(*peer.challenge())
    wish = parse_open_untrusted(data)
    fields = {name: getattr(wish, name) for name in Open.__slots__} | changes
    data = encode_open(Open(**fields))
    return data, sign_open(peer.identity.private_key, data)


def foreign_signature(peer: TlsPeer, host: RunningHost) -> tuple[bytes, bytes]:
    """The admin's certificate, signed with the guest's key."""
    certificate = identity_of(host.bundle("admin")).certificate
    return changed_open(peer, certificate=certificate)


def another_challenge(peer: TlsPeer, host: RunningHost) -> tuple[bytes, bytes]:
    """The challenge of a connection that is still waiting."""
    with TlsPeer(host, "guest") as other:
        return changed_open(peer, challenge=other.challenge()[2])


def used_challenge(peer: TlsPeer, host: RunningHost) -> tuple[bytes, bytes]:
    """The challenge with which another session was opened."""
    with open_session(host, "guest") as other:
        return changed_open(peer, challenge=parse_open_untrusted(other.open_data).challenge)


def damaged(peer: TlsPeer, host: RunningHost) -> tuple[bytes, bytes]:
    data, signature = changed_open(peer)
    return data[:-1] + bytes([data[-1] ^ 1]), signature


OPENINGS: dict[str, tuple[str, Callable[[TlsPeer, RunningHost], tuple[bytes, bytes]], str]] = {
    "another boot": ("guest", lambda peer, host: changed_open(peer, boot=os.urandom(16)), "open_boot"),
    "another install": ("guest", lambda peer, host: changed_open(peer, install=os.urandom(16)), "open_install"),
    "another connection's challenge": ("guest", another_challenge, "challenge_unknown"),
    "a challenge that was used": ("guest", used_challenge, "challenge_unknown"),
    "no challenge at all": ("guest", lambda peer, host: changed_open(peer, challenge=bytes(32)), "challenge_unknown"),
    "a certificate with another's signature": ("guest", foreign_signature, "open_signature"),
    "a byte changed after signing": ("guest", damaged, "open_signature"),
    "a certificate that is none": (
        "guest", lambda peer, host: changed_open(peer, certificate=b"certificate"), "open_certificate",
    ),
    "a key that every secret agrees with": (
        "guest", lambda peer, host: changed_open(peer, ephemeral_public=bytes(32)), "open_ephemeral",
    ),
    "a certificate of the CA that nobody has listed": (
        "stranger", lambda peer, host: changed_open(peer), "certificate_unregistered",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make", "reason"), OPENINGS.values(), ids=OPENINGS)
def test_an_open_that_gets_no_session(
    arena: Arena, name: str, make: Callable[[TlsPeer, RunningHost], tuple[bytes, bytes]], reason: str
) -> None:
    with TlsPeer(arena.host, name) as peer:
        peer.send(encode_control("open", *make(peer, arena.host)))
        assert [peer.control(), peer.control()] == [REJECTED, END]
    said = arena.news("authority")
    arena.turned_away("refused_rejected")
    assert f"was refused: {reason}" in said


def test_a_frame_before_the_open(arena: Arena) -> None:
    with TlsPeer(arena.host) as peer:
        peer.challenge()
        peer.send(arena.third.genuine())
        assert [peer.control(), peer.control()] == [DISMISSED, END]
    arena.turned_away("frame_while_challenged")


def test_a_second_open_on_a_connection_with_a_session(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer, open_session(arena.host, "guest") as other:
        peer.send(encode_control("open", *other.opening_again()))
        assert [peer.control(), peer.control()] == [DISMISSED, END]
    arena.turned_away("open_while_granted")


PAYLOADS = {
    "a word that only servers say": (encode_control("goodbye", "bye"), "wrong_direction"),
    "a grant": (encode_control("granted", 1, b"x", bytes(64)), "wrong_direction"),
    "an unknown word": (msgpack.packb(["hello"]), "unknown_message"),
    "no word": (msgpack.packb([1]), "not_a_message"),
    "nesting": (b"\x91" * 5000, "not_msgpack"),
    "an array that claims 4 G elements": (b"\xdd\xff\xff\xff\xff", "not_msgpack"),
    "an open without a signature": (msgpack.packb(["open", b"x", b""]), "bad_fields"),
    "an open with a field too many": (msgpack.packb(["open", b"x", b"x", b"x"]), "bad_fields"),
}


@pytest.mark.parametrize(("payload", "reason"), PAYLOADS.values(), ids=PAYLOADS)
def test_a_message_that_no_client_sends(arena: Arena, payload: bytes, reason: str) -> None:
    with TlsPeer(arena.host) as peer:
        peer.challenge()
        peer.send(payload)
        assert [peer.control(), peer.control()] == [DISMISSED, END]
    arena.turned_away(reason)


@pytest.mark.parametrize("length", [0, 16 * 1024, FRAME_MAX, 0xFFFFFFFF])
def test_a_length_that_nobody_without_a_session_may_claim(arena: Arena, length: int) -> None:
    with TlsPeer(arena.host) as peer:
        peer.challenge()
        peer.write(length.to_bytes(4, "big"))
        assert [peer.control(), peer.control()] == [DISMISSED, END]
    arena.turned_away("bad_length")


# -- frames under a session ------------------------------------------------------------------------------------


def test_garbage_frames_after_the_grant(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer:
        arena.room(3)
        peer.send(pack_frame(b"", b"", b"", b""), pack_frame(b"\x91" * 400, b"", b"", b""), b"\x94\xc4\x00" + bytes(9))
        settled(peer, 1)
    arena.refused("not_msgpack", "not_msgpack", "not_msgpack")


def test_a_frame_replayed_on_the_same_connection(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer:
        frame = request(peer, VICTIM, "add", 1, request_body(1))
        arena.total += 1
        peer.send(frame, frame)
        assert {header_of(peer.frame()).kind for _ in range(2)} == {FrameKind.REPLY, FrameKind.REFUSAL}
    arena.refused("replay")


def test_a_frame_replayed_on_a_second_connection_of_the_same_client(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer, open_session(arena.host, "admin") as second:
        second.send(request(peer, VICTIM, "add", 1, request_body(1)))
        assert parse_frame_untrusted(second.frame()).body == b"rejected"
        assert peer.content.session != second.content.session
    arena.refused("session_not_granted")


def test_the_session_of_a_connection_that_has_ended(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer:
        settled(peer, 1)
    with open_session(arena.host, "admin") as second:
        second.send(request(peer, VICTIM, "add", 2, request_body(1)))
        assert second.frame()
    arena.refused("session_not_granted")


def test_another_clients_session_and_keys_on_ones_own_connection(arena: Arena) -> None:
    with open_session(arena.host, "admin") as admin, open_session(arena.host, "guest") as guest:
        guest.send(request(admin, VICTIM, "add", 1, request_body(1)))
        assert parse_frame_untrusted(guest.frame()).body == b"rejected"
    arena.refused("session_not_granted")


def test_a_session_that_was_opened_with_anothers_certificate_over_ones_own_tls(arena: Arena) -> None:
    """Whoever has the admin's key, but speaks TLS as the guest: the session is bound to the TLS certificate too."""
    with TlsPeer(arena.host, "guest") as peer:
        peer.open_as(arena.host.bundle("admin"))
        assert peer.content.subject == "client/admin"
        peer.send(request(peer, VICTIM, "add", 1, request_body(1)))
        assert parse_frame_untrusted(peer.frame()).body == b"rejected"
    arena.refused("wrong_certificate")


def test_a_token_of_a_loop_from_outside(arena: Arena) -> None:
    held = arena.third.session()
    with open_session(arena.host, "admin") as peer:
        header = peer.header(VICTIM, "add", 1)
        loops = header._replace(session=held["session"], src=THIEF)
        stolen = {"token": held["token"], "body_key": bytes(32), "proof_key": held["proof_key"]}
        arena.room(2)
        peer.send(seal(header, request_body(1), **stolen), seal(loops, request_body(1), **stolen))
        settled(peer, 2)
    arena.refused("wrong_session", "session_not_granted")


def test_a_frame_that_a_loop_made_from_outside(arena: Arena) -> None:
    with open_session(arena.host, "admin") as peer:
        peer.send(arena.third.genuine())
        settled(peer, 1)
    arena.refused("session_not_granted")


@pytest.mark.parametrize(
    ("target", "method"), [(VICTIM, "add"), (VICTIM, "forbidden"), ("secondary/store", "get"), ("third/io", "describe")]
)
def test_what_no_line_allows_a_client(arena: Arena, target: str, method: str) -> None:
    with open_session(arena.host, "guest") as peer:
        held = peer.right(VICTIM)
        header = peer.header(VICTIM, method, 1)._replace(dst=target)
        peer.send(
            seal(header, request_body(1), token=peer.content.token, body_key=held.key, proof_key=peer.content.proof_key)
        )
        assert parse_frame_untrusted(peer.frame()).body == b"rejected"
        assert [right.target for right in peer.content.rights] == [VICTIM]
    arena.refused("not_allowed")


def test_a_client_answers_for_nobody(arena: Arena) -> None:
    """It has no mailbox; an answer of its making to the call of another client goes nowhere."""
    with open_session(arena.host, "guest") as peer, open_session(arena.host, "admin") as admin:
        name = admin.content.session + (1).to_bytes(8, "big")
        header = peer.header(VICTIM, "value", 1, kind=FrameKind.REPLY)
        forged = header._replace(dst="client/admin", correlation=name)
        keys = {"body_key": bytes(32), "proof_key": peer.content.proof_key}
        peer.send(seal(forged, b"\x07", token=peer.content.token, **keys))
        settled(peer, 2)
        settled(admin, 1)
    arena.refused()


# -- TLS itself ------------------------------------------------------------------------------------------------


def handshake(host: RunningHost, context: ssl.SSLContext) -> None:
    """Speak TLS to the door and wait for its first word; raises the error of whoever ends it."""
    plain = socket.create_connection(("127.0.0.1", host.port), 10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        assert secure.recv(1) != b"", "closed"


def test_the_door_speaks_with_an_honest_client(arena: Arena) -> None:
    handshake(arena.host, client_context(arena.host.bundle("admin")))


def test_no_client_certificate(arena: Arena) -> None:
    context = ssl.create_default_context(cadata=arena.host.admin.ca_pem.decode())
    context.set_alpn_protocols(["tlsrt/1"])
    with pytest.raises(ssl.SSLError, match="certificate required"):
        handshake(arena.host, context)
    arena.turned_away("tls_peer_did_not_return_a_certificate")


def test_tls_1_2(arena: Arena) -> None:
    context = client_context(arena.host.bundle("admin"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        handshake(arena.host, context)
    arena.turned_away("tls_unsupported_protocol")


def test_another_application_protocol(arena: Arena) -> None:
    context = client_context(arena.host.bundle("admin"))
    context.set_alpn_protocols(["tlsrt/2", "h2"])
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        handshake(arena.host, context)
    arena.turned_away("no_protocol")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no_tls"),
        (b"SSH-2.0-OpenSSH\r\n", "no_tls"),
        (b"\x16\x03\x01\xff\xff" + bytes(600), "tls_record_layer_failure"),
    ],
)
def test_what_is_no_tls(arena: Arena, data: bytes, reason: str) -> None:
    with socket.create_connection(("127.0.0.1", arena.host.port), 10) as plain:
        plain.sendall(data)
        answer = b""
        while piece := plain.recv(4096):
            answer += piece
    assert len(answer) <= 7, "an alert at most"
    arena.turned_away(reason)
