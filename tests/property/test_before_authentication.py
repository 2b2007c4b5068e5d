"""Every parser that a stranger reaches before anybody knows who he is: whatever comes, nothing but its one answer.

`make fuzz MINUTES=10` runs the same for as long as you like. PARSERS lists what there is: a function of these modules
whose name says `_untrusted` and that has no property here fails the first test. HTTP and browsers have files of
their own (test_http_before_authentication.py, test_web_before_authentication.py).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from attackers.fuzzing import CUTS, STEPS, Connected, are_records, brief, changed, pieces_of
from attackers.raw_tls import ALERT, CCS, DATA, HANDSHAKE, RawTls, record
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fakes.strangers import (
    BOOT,
    CHALLENGE,
    CLIENT,
    CLIENT_DER,
    CONTEXTS,
    INSTALL,
    OPEN,
    SIGNED,
    RecordingBackend,
    RecordingEnrolments,
    client_engine,
    run,
    server_engine,
    untrusted_of,
)
from fakes.tls_service import PlainService
from hypothesis import example, given
from hypothesis import strategies as st

from tlsrt.channels.frames.frame import pack_frame
from tlsrt.channels.session import enrolment, grant, lock_statement
from tlsrt.channels.tls import client_hello, message_link, message_stream
from tlsrt.channels.tls import connection as tls_connection
from tlsrt.channels.tls import engine as tls_engine
from tlsrt.channels.tls.client_hello import HelloReader, HelloVerdict, Offer
from tlsrt.channels.tls.engine import State
from tlsrt.channels.tls.message_stream import OPENING_MAX, StreamReader, encode_control, parse_control_untrusted, wrap
from tlsrt.errors import PeerError
from tlsrt.loops.door import client_connection, locked_door, proxy
from tlsrt.loops.door import enrolment as door_enrolment
from tlsrt.loops.door.client_connection import ClientConnection
from tlsrt.loops.door.enrolment import EnrolmentConnection
from tlsrt.loops.door.locked_door import LockedConnection
from tlsrt.loops.door.proxy import LENGTH_MAX, SIGNATURE, ProxyReader
from tlsrt.loops.door.tls_server import ServerLimits, TlsServer

# Where a stranger's bytes go, from the socket on, and the property that looks at each function.
PARSERS: dict[str, str] = {
    "HelloReader.feed_untrusted": "test_a_hello_is_judged_alike_however_it_is_cut",
    "ProxyReader.feed_untrusted": "test_a_proxy_header_is_taken_whole_or_refused",
    "TlsEngine.receive_untrusted": "test_the_engine_takes_any_flight",
    "TlsEngine._screen_untrusted": "test_the_engine_takes_any_flight",
    "TlsEngine._shake_untrusted": "test_the_engine_takes_any_flight",
    "TlsEngine._read_untrusted": "test_the_engine_takes_any_records",
    "Handler.received_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "MessageLink.received_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "MessageLink.payload_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "ClientConnection.received_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "ClientConnection.payload_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "Framing.feed_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "StreamReader.feed_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "parse_control_untrusted": "test_what_is_said_before_a_grant_reaches_nobody",
    "parse_open_untrusted": "test_no_open_but_the_signed_one_is_believed",
    "LockedConnection.received_untrusted": "test_what_is_said_to_a_locked_host_is_one_unlock_at_the_most",
    "LockedConnection.payload_untrusted": "test_what_is_said_to_a_locked_host_is_one_unlock_at_the_most",
    "EnrolmentConnection.received_untrusted": "test_who_has_no_certificate_says_one_thing_at_the_most",
    "EnrolmentConnection.payload_untrusted": "test_who_has_no_certificate_says_one_thing_at_the_most",
    "parse_asking_untrusted": "test_who_has_no_certificate_says_one_thing_at_the_most",
    "verify_statement_untrusted": "test_no_statement_but_the_signed_one_is_believed",
}
MODULES = (
    client_hello, tls_engine, tls_connection, message_link, message_stream, grant, client_connection,
    proxy, locked_door, lock_statement, enrolment, door_enrolment,
)  # fmt: skip
AFTERWARDS = {  # a client's own, or of somebody whose session is granted
    "parse_grant_untrusted", "_right_untrusted", "_array_untrusted", "open_grant_untrusted",
    "parse_answer_untrusted", "check_answer_untrusted", "parse_answering_untrusted",
}  # fmt: skip


def test_no_parser_is_forgotten() -> None:
    assert {name for module in MODULES for name in untrusted_of(module)} - AFTERWARDS == set(PARSERS)
    assert set(PARSERS.values()) <= set(globals())


# -- before TLS ------------------------------------------------------------------------------------------------

HELLOS = [client_engine().take_outgoing(), RawTls().first(), RawTls(alpn=("h2",)).first()]
OFFER = Offer((b"tlsrt/1",))


def judged(pieces: list[bytes]) -> tuple[HelloVerdict, bytes]:
    reader, verdict, at = HelloReader(OFFER), HelloVerdict.WAIT, 0
    while at < len(pieces) and verdict is HelloVerdict.WAIT:
        verdict = reader.feed_untrusted(pieces[at])
        at += 1
    return verdict, bytes(reader.held) + b"".join(pieces[at:])


@given(st.sampled_from(HELLOS), STEPS, CUTS)
@brief(25)
def test_a_hello_is_judged_alike_however_it_is_cut(hello: bytes, steps: Any, cuts: list[int]) -> None:
    data = changed(hello, steps)
    verdict, held = judged(pieces_of(data, cuts))
    assert (verdict, held) == judged([data] if data else []) and held == data


PROXIED = [
    SIGNATURE + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 7, 127, 0, 0, 1)) + b"\x10\x00\x01\xbb",
    SIGNATURE + b"\x21\x21\x00\x24" + bytes(range(32)) + b"\x10\x00\x01\xbb",
    SIGNATURE + b"\x20\x00\x00\x00",
    SIGNATURE + b"\x21\x11\x00\x16" + bytes(12) + b"\x01\x00\x07tlsrt/1",
]


def proxied(pieces: list[bytes]) -> tuple[str, bytes] | str | None:
    """Return (address, what follows), the word of the refusal, or None if it is not whole."""
    reader = ProxyReader()
    for at, piece in enumerate(pieces):
        try:
            found = reader.feed_untrusted(piece)
        except PeerError as error:
            return error.reason
        if found is not None:
            return found.address, found.rest + b"".join(pieces[at + 1 :])
    return None


@given(st.sampled_from(PROXIED), STEPS, st.binary(max_size=700), CUTS)
@brief(25)
def test_a_proxy_header_is_taken_whole_or_refused(header: bytes, steps: Any, after: bytes, cuts: list[int]) -> None:
    data = changed(header, steps) + after
    outcome = proxied(pieces_of(data, cuts))
    assert outcome == proxied([data]) or isinstance(outcome, str)  # the word depends on how far it was read
    if isinstance(outcome, tuple):
        address, rest = outcome
        assert data.endswith(rest) and (not address or str(ipaddress.ip_address(address)) == address)
    elif outcome is None:
        assert len(data) < 16 + LENGTH_MAX, "so much is never waited for"


# -- TLS -------------------------------------------------------------------------------------------------------


def shaken(flight: int, steps: Any, cuts: list[int]) -> tuple[State, bytes, bytes]:
    """Let a client's flight be changed on the way; return how the engine ended, who came in, what it answered."""
    engine, client = server_engine(), RawTls(CLIENT.certificate_pem, CLIENT.key_pem)
    answer = b""
    for number in range(2):
        try:  # this client is made for an honest server, and may not understand the answer to what it never said
            data = client.first() if number == 0 else client.take(answer).second()
        except Exception:
            break
        for piece in pieces_of(changed(data, steps), cuts) if number == flight else [data]:
            engine.receive_untrusted(piece)
        answer += engine.take_outgoing()
        if engine.state is not State.HANDSHAKE:
            break
    certificate = engine.certificate if engine.state is State.OPEN else b""
    return engine.state, certificate, answer


@given(st.integers(0, 1), STEPS, CUTS)
@example(0, [], [])
@brief(25)
def test_the_engine_takes_any_flight(flight: int, steps: Any, cuts: list[int]) -> None:
    """It ends in a state, says nothing but records, and lets in nobody but the one who holds the key."""
    state, certificate, answer = shaken(flight, steps, cuts)
    assert are_records(answer)
    assert (state is State.OPEN) == (certificate == CLIENT_DER)
    if not steps:
        assert state is State.OPEN


RECORDS = st.lists(
    st.tuples(
        st.sampled_from([DATA, DATA, DATA, HANDSHAKE, ALERT, CCS, 99]), st.binary(max_size=40), st.integers(0, 30),
        st.sampled_from(["sealed", "sealed", "sealed", "plain", "flipped"]),
    ),
    max_size=6,
)  # fmt: skip


@given(RECORDS, CUTS)
@brief(25)
def test_the_engine_takes_any_records(records: list[tuple[int, bytes, int, str]], cuts: list[int]) -> None:
    """What comes out is what was sealed as data, in order, up to the first record that is none."""
    engine, client = server_engine(), RawTls(CLIENT.certificate_pem, CLIENT.key_pem)
    engine.receive_untrusted(client.first())
    client.take(engine.take_outgoing())
    engine.receive_untrusted(client.second())
    assert engine.state is State.OPEN
    data, sent = b"", b""
    for kind, payload, padding, how in records:
        if how == "plain":
            data += record(kind, payload)
            continue
        whole = client.seal(kind, payload, padding)
        data += whole[:-1] + bytes((whole[-1] ^ 1,)) if how == "flipped" else whole
        if how == "sealed" and kind == DATA:
            sent += payload
    got = b"".join(engine.receive_untrusted(piece) for piece in pieces_of(data, cuts))
    assert sent.startswith(got)
    if all(kind == DATA and how == "sealed" for kind, _, _, how in records):
        assert got == sent and engine.state is State.OPEN
    assert are_records(engine.take_outgoing())
    if engine.state in (State.FAILED, State.CLOSED):
        assert engine.receive_untrusted(client.seal(DATA, b"more")) == b""


# -- tlsrt/1 ---------------------------------------------------------------------------------------------------


@given(STEPS, STEPS)
@example([], [])
@brief(25)
def test_no_open_but_the_signed_one_is_believed(of_open: Any, of_signature: Any) -> None:
    data, signature = changed(OPEN, of_open), changed(SIGNED, of_signature)
    try:
        wish = grant.parse_open_untrusted(data)
        grant.verify_open(wish, data, signature)
    except PeerError:
        assert data != OPEN or signature != SIGNED
    else:
        assert data == OPEN


ASKED, UNLOCK = wrap(encode_control("ask_unlock")), encode_control("unlock", CLIENT_DER, SIGNED)
LOCK = encode_control("lock", CLIENT_DER, "a reason", SIGNED)
PAYLOADS = st.one_of(
    st.just(ASKED),
    st.sampled_from([UNLOCK, LOCK]).flatmap(
        lambda whole: STEPS.map(lambda steps: wrap(changed(whole, steps) or b"\xc0"))
    ),
    st.just(wrap(encode_control("open", OPEN, SIGNED))),
    STEPS.map(lambda steps: wrap(changed(encode_control("open", OPEN, SIGNED), steps) or b"\xc0")),
    STEPS.map(lambda steps: wrap(changed(pack_frame(b"header", b"token", b"body", b"p" * 16), steps) or b"\xc0")),
    st.sampled_from(
        [wrap(encode_control("refused", "busy")), wrap(b"x" * OPENING_MAX), b"\0\0\0\0", b"\x7f" + b"\xff" * 9]
    ),
    st.binary(max_size=60),
)


@given(st.lists(PAYLOADS, max_size=4), st.integers(0, 4), CUTS)
@example([wrap(encode_control("open", OPEN, SIGNED))], 0, [])
@brief(25)
def test_what_is_said_before_a_grant_reaches_nobody(payloads: list[bytes], challenged: int, cuts: list[int]) -> None:
    """But one open, after the challenge, of bounded size. No frame goes to the gate, and what else comes is the end."""

    async def work() -> None:
        hub = RecordingBackend()
        links: list[ClientConnection] = []

        def choose(connection: tls_connection.TlsConnection) -> ClientConnection:
            links.append(ClientConnection(connection, 1, hub, hub, 10.0))
            return links[0]

        peer = Connected(server_engine(), client_engine(), choose)
        [link] = links
        for number, payload in enumerate([*payloads, b""]):
            if number == challenged and not peer.connection.ended:
                link.step("challenged")
                link.say("challenge", INSTALL, BOOT, CHALLENGE, 1)
            for piece in pieces_of(payload, cuts):
                peer.send(piece)
        await asyncio.sleep(0)
        assert hub.frames == [] and len(hub.opens) + len(hub.locks) <= 1
        assert all(len(one) <= OPENING_MAX and len(other) <= OPENING_MAX for one, other in hub.opens)
        if payloads == [wrap(encode_control("open", OPEN, SIGNED))] and challenged == 0:
            assert hub.opens == [(OPEN, SIGNED)] and not peer.connection.ended
        said = [parse_control_untrusted(each, "server") for each in StreamReader(1 << 16).feed_untrusted(peer.take())]
        assert [message.name for message in said if message.name not in ("challenge", "goodbye")] == []
        assert bool(peer.connection.ended) == ("goodbye" in [message.name for message in said])
        await peer.close()
        assert hub.closings == 1

    run(work)


@given(st.lists(PAYLOADS, max_size=5), st.integers(0, 5), CUTS)
@example([ASKED, wrap(UNLOCK)], 1, [])
@brief(25)
def test_what_is_said_to_a_locked_host_is_one_unlock_at_the_most(
    payloads: list[bytes], challenged: int, cuts: list[int]
) -> None:
    """After a challenge that was asked for; whatever else comes gets one word and the end."""

    async def work() -> None:
        hub = RecordingBackend()
        links: list[LockedConnection] = []

        def choose(connection: tls_connection.TlsConnection) -> LockedConnection:
            now = asyncio.get_running_loop().call_soon
            links.append(LockedConnection(connection, 1, hub, (INSTALL, BOOT, b"l" * 16), now))
            return links[0]

        peer = Connected(server_engine(), client_engine(), choose)
        for number, payload in enumerate([*payloads, b""]):
            if number == challenged and not peer.connection.ended and links[0].step("challenge"):
                links[0].say("challenge", INSTALL, BOOT, CHALLENGE, 1)
            for piece in pieces_of(payload, cuts):
                peer.send(piece)
        await asyncio.sleep(0)
        assert not hub.frames and not hub.opens and len(hub.locks) <= hub.challenges <= 1
        if payloads == [ASKED, wrap(UNLOCK)] and challenged == 1:
            assert hub.locks == [(CLIENT_DER, "", SIGNED)] and not peer.connection.ended
        said = [parse_control_untrusted(each, "server") for each in StreamReader(1 << 16).feed_untrusted(peer.take())]
        names = [message.name for message in said]
        assert names[0] == "locked" and set(names[1:]) <= {"challenge", "refused"}
        assert bool(peer.connection.ended) == ("refused" in names)
        await peer.close()

    run(work)


ENROL = enrolment.encode_message("enrol", b"i" * 5, b"r" * 300, b"m" * 32)
ASKINGS = st.one_of(
    STEPS.map(lambda steps: wrap(changed(ENROL, steps) or b"\xc0")),
    st.sampled_from([wrap(ENROL), ASKED, wrap(UNLOCK), b"\0\0\0\0", wrap(b"x" * enrolment.ASKING_MAX), b"\xff" * 9]),
    st.binary(max_size=60),
)


@given(st.lists(ASKINGS, max_size=4), CUTS)
@example([wrap(ENROL)], [])
@brief(25)
def test_who_has_no_certificate_says_one_thing_at_the_most(payloads: list[bytes], cuts: list[int]) -> None:
    """One request of bounded size goes on to the authority; what else comes gets one word and the end."""

    async def work() -> None:
        owner = RecordingEnrolments()

        def choose(connection: tls_connection.TlsConnection) -> EnrolmentConnection:
            return EnrolmentConnection(connection, 1, [CLIENT_DER], owner)

        peer = Connected(server_engine(), client_engine(), choose)
        for payload in payloads:
            for piece in pieces_of(payload, cuts):
                peer.send(piece)
        await asyncio.sleep(0)
        assert len(owner.asked) <= 1 and all(len(each[1]) <= enrolment.ASKING_MAX for each in owner.asked)
        if payloads == [wrap(ENROL)]:
            assert owner.asked == [(b"i" * 5, b"r" * 300, b"m" * 32)] and not peer.connection.ended
        said = [
            enrolment.parse_answering_untrusted(each)[0] for each in StreamReader(1 << 17).feed_untrusted(peer.take())
        ]
        assert said == ["authorities", "refused"][: 2 if peer.connection.ended else 1]
        await peer.close()
        assert owner.closings == 1

    run(work)


@given(STEPS, STEPS, STEPS)
@example([], [], [])
@brief(25)
def test_no_statement_but_the_signed_one_is_believed(of_certificate: Any, of_statement: Any, of_signature: Any) -> None:
    statement = lock_statement.unlock_statement(INSTALL, BOOT, b"l" * 16, CHALLENGE)
    signature = lock_statement.sign_statement(load_pem_private_key(CLIENT.key_pem, None), statement)
    given_ = changed(CLIENT_DER, of_certificate), changed(statement, of_statement), changed(signature, of_signature)
    try:
        lock_statement.verify_statement_untrusted(*given_)
    except PeerError:
        assert given_ != (CLIENT_DER, statement, signature)
    else:
        assert given_[1] == statement


# -- all of it, over a socket ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from([*PROXIED, *HELLOS]), STEPS), min_size=1, max_size=3), CUTS)
@brief(12)
def test_a_server_behind_a_proxy_ends_every_stranger_and_goes_on(
    parts: list[tuple[bytes, Any]], cuts: list[int]
) -> None:
    data = b"".join(changed(part, steps) for part, steps in parts)

    async def work() -> None:
        limits = ServerLimits(proxies=frozenset({"127.0.0.1"}))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            service = PlainService({"tlsrt/1": lambda client: pytest.fail("no client may come in")})
            server = TlsServer(CONTEXTS.server, service, limits)
            server.listen(listener.fileno())
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            for piece in pieces_of(data, cuts):
                writer.write(piece)
                await asyncio.sleep(0)
            try:
                writer.write_eof()
                async with asyncio.timeout(10):
                    assert are_records(await reader.read())
            except OSError:  # it was reset
                pass
            writer.close()
            async with asyncio.timeout(10):
                await server.drain(5)
            assert server.connections == server.unauthenticated == 0

    run(work)
