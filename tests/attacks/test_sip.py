"""Attacked sentence: who has proven nothing rings no one, and who talks is neither cut off nor overheard by others."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attackers.sip_caller import SipCaller
from attackers.sip_peer import SipPeer
from hosts.baresip import Baresip
from hosts.joined_messages import until
from hosts.telephone_exchange import DOOR, PASSWORD, PROCESS, SIP, TONE, TelephoneExchange

from tlsrt import Denied, NotFound, TlsrtError
from tlsrt.loops.sip.description import SrtpKey, write_offer

LATE_S = (
    0.3  # after the command that ended a right has returned: 0.0 when it was measured, and 0.6 before it was mended
)
OFFER = write_offer("127.0.0.1", 4, 1, 0, (SrtpKey(1, "AES_CM_128_HMAC_SHA1_80", b"x" * 30),))


@pytest.fixture(scope="module")
def exchange(request: pytest.FixtureRequest) -> Iterator[TelephoneExchange]:
    failed = request.session.testsfailed
    with tempfile.TemporaryDirectory(prefix="tlsrt-sip.") as name:
        made = TelephoneExchange(Path(name), records=False)
        try:
            made.start()
            yield made
            if request.session.testsfailed > failed:
                made.host.print_logs()
        except BaseException:
            made.host.print_logs()
            raise
        finally:
            made.close()


def peer(exchange: TelephoneExchange, **options: Any) -> SipPeer:
    return SipPeer(exchange.port, exchange.folder / "ca.pem", **options)


def load(exchange: TelephoneExchange) -> SipPeer:
    """Return a peer that is the telephone `load`, by its certificate."""
    return peer(exchange, pair=(exchange.load / "ca.pem", exchange.load / "key.pem"))


def rung(exchange: TelephoneExchange) -> int:
    with exchange.host.client() as client:
        return len(client.call(DOOR, "heard")["rung"])


def talking(exchange: TelephoneExchange) -> str:
    """Have anna ring the door, and return the id of the call."""
    anna = exchange.anna
    with exchange.host.client() as client:
        until(lambda: client.call(SIP, "telephones")["anna"]["registered"])
    anna.events.clear()
    anna.do("dial", f"sip:third.door@{exchange.at};transport=tls")
    anna.until_type("CALL_ESTABLISHED")
    with exchange.host.client() as client:
        before = set(client.call(DOOR, "heard")["over"])
        [id] = until(lambda: [id for id in client.call(DOOR, "heard")["calls"] if id not in before])
        return str(id)


def assert_still_heard(exchange: TelephoneExchange, id: str) -> None:
    with exchange.host.client() as client:
        before = client.call(DOOR, "heard")["calls"][id]["s"]
        ears = until(
            lambda: (ears := client.call(DOOR, "heard")["calls"][id])["s"] > min(before + 0.5, 3.9) and ears, 20
        )
        assert abs(ears["hertz"] - TONE) < 6, ears


def hang_up(exchange: TelephoneExchange, id: str) -> None:
    exchange.anna.do("hangup")
    with exchange.host.client() as client:
        until(lambda: id in client.call(DOOR, "heard")["over"])


def test_who_has_proven_nothing_rings_and_registers_nothing(exchange: TelephoneExchange) -> None:
    before = rung(exchange)
    for method in ("INVITE", "REGISTER", "OPTIONS", "BYE"):
        with peer(exchange) as eve:
            assert eve.ask(eve.request(method, body=OFFER if method == "INVITE" else b"")) == 401
    with peer(exchange) as eve:
        for _ in range(3):
            assert eve.ask(eve.request("INVITE", body=OFFER)) == 401
            status = eve.ask(eve.request("INVITE", body=OFFER, authorization=eve.proof("INVITE", "a guess of eve")))
        assert status == 403 and eve.receive() is None
    assert rung(exchange) == before


def test_an_answer_to_a_question_opens_no_other_connection(exchange: TelephoneExchange) -> None:
    with peer(exchange) as anna, peer(exchange) as eve:
        anna.ask(anna.request("OPTIONS"))
        proof = anna.proof("OPTIONS", PASSWORD)
        assert eve.ask(eve.request("OPTIONS", authorization=proof)) == 401
        assert anna.ask(anna.request("OPTIONS", authorization=proof)) == 200
        assert anna.ask(anna.request("MESSAGE")) == 405


def test_a_telephone_rings_what_its_options_list_alone(exchange: TelephoneExchange) -> None:
    with load(exchange) as telephone:
        for target in ("secondary.store", "third/door/x", "client.admin", "13", "%00"):
            data = telephone.request("INVITE", body=OFFER).replace(
                b"INVITE sip:third.door@", f"INVITE sip:{target}@".encode()
            )
            assert telephone.ask(data) == 403, target
        assert telephone.ask(telephone.request("INVITE", body=OFFER.replace(b"SAVP", b"AVP"))) == 488
        assert "SRTP only" in telephone.last.get("warning")
    with exchange.host.client() as client:
        with pytest.raises(NotFound, match="no telephone 'eve'"):
            list(client.exchange(SIP, "dial", [], "eve", ""))
        with pytest.raises(Denied, match="client/admin may not ring anna"):
            list(client.exchange(SIP, "dial", [], "anna", ""))


def test_baresip_without_srtp_is_refused_in_a_sentence(exchange: TelephoneExchange) -> None:
    account = f"auth_user=anna;auth_pass={PASSWORD};regint=0;answermode=auto;"
    folder = exchange.folder / "plain"
    folder.mkdir()
    plain = Baresip(
        folder, "anna", exchange.at, ca=exchange.folder / "ca.pem", pair=exchange.pair, hertz=TONE,
        account=account, srtp=False,
    )  # fmt: skip
    try:
        plain.start()
        plain.do("dial", f"sip:third.door@{exchange.at};transport=tls")
        assert "488" in plain.until_type("CALL_CLOSED")["param"]
    finally:
        plain.close()


def test_requests_of_other_connections_and_sound_of_others_touch_no_call(exchange: TelephoneExchange) -> None:
    id = talking(exchange)
    with load(exchange) as eve:
        for method in ("BYE", "CANCEL", "INVITE"):
            body = OFFER if method == "INVITE" else b""
            assert eve.ask(eve.request(method, call_id="x", count=99, to="x", body=body)) == 481
    for source in ("127.0.0.1", "127.0.0.2"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((source, 0))
            for number in range(500):
                packet = bytes([0x80, 0]) + number.to_bytes(2, "big") + os.urandom(170)
                stranger.sendto(packet, ("127.0.0.1", exchange.rtp))
            stranger.settimeout(0.1)
            with pytest.raises(TimeoutError):
                stranger.recv(64)
    assert_still_heard(exchange, id)
    hang_up(exchange, id)
    assert exchange.host.loop(PROCESS)["violations"] == 0


def test_floods_and_garbage_cost_those_who_send_them(exchange: TelephoneExchange) -> None:
    id = talking(exchange)
    for garbage in (b"\0" * 40000, b"GET / HTTP/1.1\r\n\r\n", b"INVITE " + b"x" * 30000, b"X: y\r\n" * 5000):
        with peer(exchange) as eve:
            try:
                eve.send(garbage)
            except OSError:
                pass
            assert eve.receive() is None
    with load(exchange) as flood, exchange.host.client() as client:
        client.call(DOOR, "be", "waits")
        flood.send(b"".join(flood.request("INVITE", body=OFFER) for _ in range(260)))
        refused = 0
        while refused < 60:
            message = flood.receive()
            assert message is not None
            refused += message.status == 486
        client.call(DOOR, "be", "talks")
    assert_still_heard(exchange, id)
    hang_up(exchange, id)


def test_handshakes_that_never_end_are_bounded_and_cost_others_nothing(exchange: TelephoneExchange) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", exchange.port), 20, ("127.0.0.2", 0)))
            try:
                slow.send(b"\x16\x03\x01")
            except OSError:  # it was turned away
                pass
        began = time.monotonic()
        with load(exchange) as telephone:
            assert telephone.ask(telephone.request("OPTIONS")) == 200
        assert time.monotonic() - began < 5  # one handshake may take as long


def locks(exchange: TelephoneExchange) -> None:
    assert exchange.host.cli("lock").returncode == 0


def revokes_the_component(exchange: TelephoneExchange) -> None:
    assert exchange.host.cli("revoke", "component", DOOR).returncode == 0


def revokes_the_bridge(exchange: TelephoneExchange) -> None:
    assert exchange.host.cli("revoke", "component", SIP).returncode == 0


def is_back(exchange: TelephoneExchange) -> bool:
    try:
        with exchange.host.client() as client:
            return bool(client.call(SIP, "telephones")) and bool(client.call(DOOR, "heard"))
    except TlsrtError:
        return False


@pytest.mark.parametrize("cut", [revokes_the_component, revokes_the_bridge, locks])
def test_a_lock_hangs_up(exchange: TelephoneExchange, cut: Callable[[TelephoneExchange], None]) -> None:
    """The component says more than is sent, so up to a second of its sound waits on the way: none of it is heard."""
    with load(exchange) as telephone, SipCaller(telephone) as call:
        until(lambda: call.received > 50)
        cut(exchange)
        done_s = time.monotonic()
        hung_up_s = call.until_hung_up()
        until(lambda: time.monotonic() > call.last_s + 0.7)
    print(f"{cut.__name__}: sound for {call.last_s - done_s:.3f} s, hung up after {hung_up_s - done_s:.3f} s")
    assert call.last_s < done_s + LATE_S and hung_up_s < done_s + LATE_S
    if cut is not locks:
        address = DOOR if cut is revokes_the_component else SIP
        assert exchange.host.cli("restore", "component", address).returncode == 0
        until(lambda: is_back(exchange))
