"""Attacked sentences: a hostile CA, and the process that speaks with it, gain nothing and change no certificate."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator

import pytest
from hosts.hostile_ca import HUGE, HostileCA
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost

from tlsrt.errors import EX_UNAVAILABLE

NAME = "kettle.example.org"
# What code in the ACME process tries, after its seal, when a name tells it to; and a shorter patience.
PRELUDE = """
import os, socket
import tlsrt.supervisor.acme.main as main

main.REQUEST_S = 1.0
_order = main.AcmeClient.order

def _errno(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

def _captured(self, names, *rest):
    process, word = self._shell, names[-1].partition(".")[0]
    if word == "tries":
        paths = ("/etc/passwd", "/proc/1/mem", "/run", "/state", "/tmp", "/etc/ssl")
        tried = {path: _errno(lambda: os.close(os.open(path, os.O_RDONLY))) for path in paths}
        main._say(f"tried {tried}")
    elif word == "reaches":
        socket.socket(socket.AF_INET)
    elif word == "floods":
        for number in range(1000):
            process._supervisor.send("connect", number)
            process._hear(None)
    elif word == "proves":
        process._supervisor.send("challenge", 99, bytes(32))
    elif word == "forges":
        process._supervisor.send("issued", [b"0" * 100])
        process._hear(None)
    elif word == "talks":
        process._supervisor.send("window", 1, 2, 3)
    return _order(self, names, *rest)

main.AcmeClient.order = _captured
"""


@pytest.fixture(scope="module")
def ca() -> Iterator[HostileCA]:
    with HostileCA() as ca:
        yield ca


@pytest.fixture(scope="module")
def host(ca: HostileCA) -> Iterator[RunningHost]:
    extra = {"acme": ca.acme(names=[NAME]), "door": {"http": True}}
    with RunningHost(extra=extra, prelude=LatePrelude(PRELUDE)) as host:
        host.until(lambda status: status["acme"]["state"] == "issued", "a certificate")
        yield host


def renew(host: RunningHost) -> str:
    """Return why an order fails, for which the CA had no certificate taken."""
    before = host.status()["acme"]
    failed = host.cli("certificate", "renew")
    after = host.status()["acme"]
    assert failed.returncode == EX_UNAVAILABLE, failed.stdout
    assert (after["names"], after["ends"], after["issuer"]) == ([NAME], before["ends"], before["issuer"])
    return failed.stderr


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("redirect", "another host or port"),
        ("elsewhere", "another host or port"),
        ("huge", "not what RFC 8555 says"),
        ("slow", "does not answer in time"),
        ("other_key", "for another key than the one of this order"),
        ("other_names", "evil.example.org"),
    ],
)
def test_a_hostile_ca_is_refused(host: RunningHost, ca: HostileCA, mode: str, words: str) -> None:
    ca.mode = mode
    try:
        assert words in renew(host)
    finally:
        ca.mode = "honest"
    assert mode not in ("redirect", "elsewhere") or not ca.is_bait_taken()
    assert ca.sent < HUGE / 16


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("reaches", "violation"),
        ("floods", "too_many_connections"),
        ("proves", "bad_challenge"),
        ("talks", "unasked"),
    ],
)
def test_a_captured_acme_process_is_ended(host: RunningHost, word: str, said: str) -> None:
    failed = host.cli("certificate", "add", f"{word}.example.org")
    assert failed.returncode == EX_UNAVAILABLE and "has ended" in failed.stderr
    host.told('"killed"', said)
    assert host.status()["acme"]["wanted"] == [NAME]


def test_a_captured_acme_process_reads_no_file_and_forges_no_certificate(host: RunningHost) -> None:
    assert host.cli("certificate", "add", "tries.example.org").returncode == 0  # and then it orders
    tried = host.log("acme").rpartition("tried ")[2].splitlines()[0]
    assert 0 not in json.loads(tried.replace("'", '"')).values()
    assert host.cli("certificate", "remove", "tries.example.org").returncode == 0
    forged = host.cli("certificate", "add", "forges.example.org")
    assert forged.returncode == EX_UNAVAILABLE and "cannot be read" in forged.stderr
    assert host.status()["acme"]["names"] == [NAME]


def test_no_client_is_shown_a_challenge_without_an_order(host: RunningHost) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    with (
        socket.create_connection(("127.0.0.1", host.port), timeout=30) as connected,
        pytest.raises(ssl.SSLError, match=r"(?i)alert.no.application.protocol"),
    ):
        context.wrap_socket(connected, server_hostname=NAME)
    assert host.client().describe()
