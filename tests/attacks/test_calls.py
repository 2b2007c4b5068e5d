"""Attacked sentence: no call without a session and a right, and no sound from or to who has not proved itself."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, PORT, TELEPHONE, Spoken, calling_host, ring, until
from hosts.joined_networks import HOST, JoinedNetworks, inside
from hosts.running_host import RunningHost
from tools.extras import need_extra

from tlsrt import Busy, Client, Denied, InvalidArgument, NotFound, Rejected, TlsrtError

need_extra("calling", "aioice")
from aioice import stun  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[tuple[RunningHost, JoinedNetworks]]:
    with calling_host(request, "rings") as one:
        yield one


@pytest.fixture(scope="module")
def host(made: tuple[RunningHost, JoinedNetworks]) -> RunningHost:
    return made[0]


@pytest.fixture(scope="module")
def page(made: tuple[RunningHost, JoinedNetworks]) -> Iterator[CallingBrowser]:
    with inside(made[1].peer):
        one = CallingBrowser()
    yield one
    one.close()


@pytest.fixture
def browser(page: CallingBrowser) -> CallingBrowser:
    page.fresh()
    return page


@pytest.fixture
def stranger(made: tuple[RunningHost, JoinedNetworks]) -> Iterator[socket.socket]:
    """A socket in the network of the browser, which has no session."""
    with inside(made[1].peer):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(0.3)
    yield one
    one.close()


def counted(client: Client, name: str) -> int:
    return int(client.call(CALLS, "metrics")["counters"].get(name, 0))


def check(name: str, password: str) -> bytes:
    """Return a check of ICE that asks under a name, proved by a password."""
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = name
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 1
    if password:
        message.add_message_integrity(password.encode())
    return bytes(message)


def test_who_has_no_right_has_no_call_and_takes_none_of_another(host: RunningHost, browser: CallingBrowser) -> None:
    offer = browser.offer()
    with host.client("eve") as eve, host.client("anna") as anna, host.client("ben") as ben:
        for method, words in (("ring", ["door", offer]), ("watch", []), ("answer", ["0" * 16, offer])):
            with pytest.raises((Denied, Rejected)):
                next(eve.stream(CALLS, method, *words))
        waiting = Spoken(ben, "watch")
        waiting.next("waits")
        spoken = Spoken(anna, "ring", "ben", offer)
        call = waiting.next("rings")["call"]
        for method in ("hang_up", "decline", "hold"):
            with pytest.raises((Denied, Rejected)):
                eve.call(CALLS, method, call)
        with pytest.raises(NotFound):  # it does not ring for anna, who rings herself
            next(anna.stream(CALLS, "answer", call, offer))
        ben.call(CALLS, "decline", call)
        assert spoken.next("ended")["why"] == "declined"
        with pytest.raises(NotFound, match="no number 'ben' for client/ben"):
            next(ben.stream(CALLS, "ring", "ben", offer))


def test_datagrams_of_strangers_are_not_answered_and_reach_no_call(
    host: RunningHost, browser: CallingBrowser, stranger: socket.socket
) -> None:
    with host.client("anna") as anna, host.client() as admin:
        spoken = Spoken(anna, "ring", "door", browser.offer())
        sdp = spoken.next("rings")["sdp"]
        browser.accept(sdp)
        spoken.next("connected")
        until(lambda: admin.call(TELEPHONE, "report")["loud"] > 10)
        before = counted(anna, "strangers")
        lines = dict(line[2:].split(":", 1) for line in sdp.splitlines() if line.startswith("a=ice-"))
        name = f"{lines['ice-ufrag']}:{browser.run('pc.localDescription.sdp').split('a=ice-ufrag:')[1].split()[0]}"
        sound = b"\x80\x6f" + secrets.token_bytes(100)
        handshake = b"\x16\xfe\xfd" + secrets.token_bytes(100)
        sent = [
            secrets.token_bytes(1400), b"", b"\0", sound, handshake, check("none:none", "x" * 22),
            check(name, "x" * 22), check(name, ""), check("", ""), check(name, lines["ice-pwd"])[:-9],
            b"\0\1" + b"\xff\xff" + b"\x21\x12\xa4\x42" + secrets.token_bytes(1000),
        ]  # fmt: skip
        for data in sent:
            stranger.sendto(data, (HOST, PORT))
        until(lambda: counted(anna, "strangers") >= before + len(sent))
        with pytest.raises(TimeoutError):
            stranger.recv(2000)
        until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
        loud = admin.call(TELEPHONE, "report")["loud"]
        until(lambda: admin.call(TELEPHONE, "report")["loud"] > loud + 20)
        assert not browser.closed_s()
        # One who has the password may ask, and has no key: what it sends is not heard, and the sound does not go there.
        stranger.sendto(check(name, lines["ice-pwd"]), (HOST, PORT))
        assert stranger.recv(2000)[:2] == b"\x01\x01"
        for _ in range(20):
            stranger.sendto(sound, (HOST, PORT))
            stranger.sendto(handshake, (HOST, PORT))
        heard = []
        limit_s = time.monotonic() + 1.0
        while time.monotonic() < limit_s:
            try:
                heard.append(stranger.recv(2000))
            except TimeoutError:
                break
        assert not [data for data in heard if data[0] > 19], "sound, or a handshake, went to who has no key"
        loud = admin.call(TELEPHONE, "report")["loud"]
        until(lambda: admin.call(TELEPHONE, "report")["loud"] > loud + 20)
        assert not browser.closed_s()


def test_another_key_than_that_of_the_offer_is_not_heard(host: RunningHost, browser: CallingBrowser) -> None:
    offer = browser.offer()
    print_ = offer.split("a=fingerprint:sha-256 ")[1].split()[0]
    other = ":".join(f"{int(part, 16) ^ 1:02X}" for part in print_.split(":"))
    with host.client("anna") as anna, host.client() as admin:
        spoken = Spoken(anna, "ring", "door", offer.replace(print_, other))
        browser.accept(spoken.next("rings")["sdp"])
        assert spoken.next("ended")["why"] == "connection lost"
        until(lambda: not admin.call(TELEPHONE, "report")["is_in"])
        assert admin.call(TELEPHONE, "report")["pieces"] == 0
        assert not browser.run("all.lastAt")


HOSTILE = [
    ("a=mid:0", "a=mid:" + "9" * 900), ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus/48000/999999999"),
    ("a=rtpmap:111", "a=rtpmap:x"), ("a=extmap:1 ", "a=extmap:99999999999999999999 "), ("a=extmap:1 ", "a=extmap: "),
    ("a=ice-ufrag:", "a=ice-ufrag:%%%"), ("a=ice-pwd:", "a=ice-pwd:1\r\na=none:"), ("a=rtcp:9", "a=rtcp:-1"),
    ("a=sctp-port:5000", "a=sctp-port:99999999"), ("a=max-message-size:", "a=max-message-size:-"),
    ("a=ssrc:", "a=ssrc:99999999999999999999"), ("a=group:BUNDLE 0 1", "a=group:BUNDLE 7 7"),
    ("c=IN IP4 0.0.0.0", "c=IN IP4 127.0.0.1"), ("a=rtcp-mux", "a=rtcp-no"), ("v=0", "v=9"),
    ("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP"), ("m=audio 9", "m=audio x"), ("a=mid:1", "a=mid:0"),
    ("a=setup:actpass", "a=setup:active"), ("a=sendrecv", "a=inactive"), ("t=0 0", "t=0 0\r\n" + "a=x\r\n" * 500),
]  # fmt: skip


def test_hostile_offers_end_in_a_sentence_and_leave_nothing(host: RunningHost, browser: CallingBrowser) -> None:
    offer = browser.offer()
    told = []
    names = ["carl", "ben"]  # each has 12 attempts a minute
    for at, (part, instead) in enumerate(HOSTILE):
        assert part in offer, part
        with host.client(names[at % 2]) as client:
            try:
                first: Any = next(client.stream(CALLS, "ring", "door", offer.replace(part, instead)))
            except InvalidArgument as error:
                told.append(error.message)
            else:
                assert first["state"] == "rings"
    assert told and not [words for words in told if "Traceback" in words or "\n" in words]
    with host.client() as admin:
        until(lambda: not admin.call(TELEPHONE, "report")["is_in"])
    assert host.loop("external.calls")["violations"] == 0 and host.loop("external.calls")["restarts"] == 0


def test_after_all_that_a_call_is_a_call(host: RunningHost, browser: CallingBrowser) -> None:
    """Also while one floods with rings: each has attempts of its own."""
    with host.client("anna") as anna, host.client("ben") as ben:
        for _ in range(14):
            with pytest.raises(TlsrtError):
                next(anna.stream(CALLS, "ring", "door", "v=0"))
        with pytest.raises(Busy, match="12 times"):
            next(anna.stream(CALLS, "ring", "door", "v=0"))
        spoken, _ = ring(ben, browser)
        spoken.next("connected")
        until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
