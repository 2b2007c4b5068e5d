"""Telephones that ring a host in the full sandbox and are rung: real baresip and sipp, TLS and mandatory SRTP."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from attackers.sip_peer import SipPeer
from hosts.joined_messages import until
from hosts.telephone_exchange import DOOR, PROCESS, SIP, TONE, TelephoneExchange
from hosts.telephone_package.telephones import HERTZ
from hosts.tls_wrapper import TlsWrapper
from tools.programs import need

from tlsrt import Client
from tlsrt.loops.external.sip import AT_ONE
from tlsrt.loops.sip.description import SrtpKey, read_untrusted, write_offer
from tlsrt.loops.sip.media import Media

CALLS, PER_SECOND = 500, 50
AT_ONCE = 100
SCENARIO = """<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="ring, talk, hang up">
<send retrans="500" start_rtd="1"><![CDATA[
INVITE sip:third.door@[remote_ip]:[remote_port];transport=tls SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:load@[local_ip]>;tag=[pid]t[call_number]
To: <sip:third.door@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:load@[local_ip]:[local_port];transport=tls>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=load 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/SAVP 0
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK
a=rtpmap:0 PCMU/8000

]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200" rtd="1" rrs="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:load@[local_ip]>;tag=[pid]t[call_number]
To: <sip:third.door@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<pause milliseconds="300"/>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:load@[local_ip]>;tag=[pid]t[call_number]
To: <sip:third.door@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""


_tags: dict[int, str] = {}  # by which the host knows a call


def _next_answer(system: SipPeer, keys: list[SrtpKey]) -> tuple[int, Media | None]:
    """Return which call rings now, or is answered: then with its sound, and acknowledged."""
    while True:
        message = system.receive()
        assert message is not None
        assert message.status < 300, (message.status, message.reason, message.get("warning"))
        number = int(message.call_id[1:])
        if message.status == 180:
            return number, None
        if message.status == 200 and message.cseq[1] == "INVITE":
            _tags[number] = message.recipient.tag
            system.send(system.request("ACK", call_id=message.call_id, count=1, to=_tags[number]))
            media = Media(read_untrusted(message.body, (keys[number],)), keys[number], number, 1, 1)
            media.is_proven = True  # of two that wait for the other's first packet one has to begin
            return number, media


def _new_calls(client: Client, known: set[str]) -> list[dict[str, Any]]:
    return [ears for id, ears in client.call(DOOR, "heard")["calls"].items() if id not in known]


@pytest.fixture(scope="module")
def exchange(request: pytest.FixtureRequest) -> Iterator[TelephoneExchange]:
    failed = request.session.testsfailed
    with tempfile.TemporaryDirectory(prefix="tlsrt-sip.") as name:
        made = TelephoneExchange(Path(name))
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


def test_a_telephone_rings_a_component_and_both_hear_the_other(exchange: TelephoneExchange) -> None:
    exchange.anna.until_type("REGISTER_OK")
    exchange.anna.do("dial", f"sip:third.door@{exchange.at};transport=tls")
    exchange.anna.until_type("CALL_ESTABLISHED")
    with exchange.host.client() as client:
        until(lambda: any(one["s"] > 1.5 for one in client.call(DOOR, "heard")["calls"].values()), 20)
        exchange.anna.do("hangup")
        until(lambda: client.call(DOOR, "heard")["over"])
        [ears] = client.call(DOOR, "heard")["calls"].values()
        assert abs(ears["hertz"] - TONE) < 6 and ears["peak"] > 3000, ears
        [record] = until(lambda: client.call(SIP, "log_of_calls"))
    assert record["telephone"] == "anna" and record["other"] == DOOR and record["answered"], record
    until(lambda: abs(exchange.anna.heard_hertz() - HERTZ) < 9, 10)


@pytest.mark.parametrize("telephone", ["anna", "bob"])
def test_a_component_rings_a_telephone(exchange: TelephoneExchange, telephone: str) -> None:
    with exchange.host.client() as client:
        heard = client.call(DOOR, "ring", SIP, telephone, 2.0, timeout_s=60)
        assert heard["answered"] and abs(heard["hertz"] - TONE) < 6, heard


def test_a_hundred_calls_by_one_port_come_at_once_and_all_are_answered(exchange: TelephoneExchange) -> None:
    """56 are answered, each is heard by its own key, and the others ring until one of these ends."""
    keys = [SrtpKey(1, "AES_CM_128_HMAC_SHA1_80", bytes([number]) * 30) for number in range(AT_ONCE)]
    pair = (exchange.load / "ca.pem", exchange.load / "key.pem")
    with (
        SipPeer(exchange.port, exchange.folder / "ca.pem", pair=pair) as system,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port,
        exchange.host.client() as client,
    ):
        port.bind(("127.0.0.1", 0))
        client.call(DOOR, "be", "quiet")
        known = set(client.call(DOOR, "heard")["calls"])
        place = port.getsockname()[1]
        offers = [write_offer("127.0.0.1", place, 1, 0, (key,)) for key in keys]
        system.send(
            b"".join(system.request("INVITE", call_id=f"c{at}", count=1, body=body) for at, body in enumerate(offers))
        )
        answered: dict[int, Media] = {}
        ringing: set[int] = set()
        while len(answered) < AT_ONE or len(ringing) < AT_ONCE:
            number, media = _next_answer(system, keys)
            ringing.add(number)
            if media is not None:
                answered[number] = media
        assert len(answered) == AT_ONE
        for media in answered.values():
            for _ in range(3):  # what a socket has room for, of all
                media.put(bytes([0, 16]) * 160)
                port.sendto(media.next_packet() or b"", ("127.0.0.1", exchange.rtp))
        until(lambda: sum(one["s"] > 0 for one in _new_calls(client, known)) == AT_ONE)
        for number in list(answered):
            system.send(system.request("BYE", call_id=f"c{number}", count=2, to=_tags[number]))
        while len(answered) < AT_ONCE:
            number, media = _next_answer(system, keys)
            if media is not None:
                answered[number] = media
                system.send(system.request("BYE", call_id=f"c{number}", count=2, to=_tags[number]))
        until(lambda: client.call(SIP, "telephones")["load"]["calls"] == 0)
        reasons = Counter(one["why"] for one in client.call(SIP, "log_of_calls", AT_ONCE))
        assert reasons == {"the telephone hung up": AT_ONCE}
        client.call(DOOR, "be", "talks")


def test_sipp_calls_a_component_and_none_fails(exchange: TelephoneExchange) -> None:
    """500 calls of 0.3 s, 50 a second over one connection of TLS 1.3, each answered by the component."""
    scenario = exchange.folder / "scenario.xml"
    scenario.write_text(SCENARIO)
    with exchange.host.client() as client:
        client.call(DOOR, "be", "quiet")
        before = len(client.call(SIP, "log_of_calls", 1000))
        process = psutil.Process(exchange.host.loop(PROCESS)["pid"])
        began, began_s = process.cpu_times(), time.monotonic()
        wrapper = TlsWrapper(
            exchange.port, exchange.folder / "ca.pem", exchange.load / "ca.pem", exchange.load / "key.pem"
        )
        command = [
            need("sipp"), f"127.0.0.1:{wrapper.port}", "-sf", str(scenario), "-t", "t1", "-m", str(CALLS),
            "-r", str(PER_SECOND), "-i", "127.0.0.1", "-nostdin", "-trace_err", "-trace_rtt", "-rtt_freq", "1",
            "-timeout", "60", "-l", "200",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, cwd=exchange.folder, capture_output=True, text=True, timeout=90)
        finally:
            wrapper.close()
        seconds, ended = time.monotonic() - began_s, process.cpu_times()
        said = done.stdout[-3000:] + "".join(one.read_text()[-2000:] for one in exchange.folder.glob("*errors.log"))
        records = client.call(SIP, "log_of_calls", 1000)
        records = records[: len(records) - before]
        reasons = Counter(one["why"] for one in records)
        assert done.returncode == 0, (reasons, said)
        client.call(DOOR, "be", "talks")
    rows = [line for path in exchange.folder.glob("*rtt.csv") for line in path.read_text().splitlines()[1:]]
    times = [float(row.split(";")[1]) for row in rows]
    assert len(records) == CALLS and all(one["answered"] for one in records), said
    used = ended.user + ended.system - began.user - began.system
    pss = re.findall(r"^Pss: +([0-9]+)", Path(f"/proc/{process.pid}/smaps_rollup").read_text(), re.MULTILINE)[0]
    p99 = statistics.quantiles(times, n=100)[98]
    print(f"{CALLS} calls in {seconds:.1f} s, set-up p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms")
    print(f"{1000 * used / CALLS:.1f} ms of processor a call, PSS {pss} KiB")
