"""Requests of browsers without a certificate: which are understood, and which are refused how."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.console_page import digest_of, read_page
from tlsrt.loops.http.site import HostNames
from tlsrt.loops.web.files import PageFiles, file_answer, refusal_answer
from tlsrt.loops.web.request import (
    HEAD_MAX,
    FileRequest,
    UpgradeRequest,
    WebRefusal,
    head_untrusted,
    request_untrusted,
    takes_gzip_untrusted,
)

NAMES = HostNames(["host.example", "192.0.2.7", "2001:db8::7"])
TRAVEL_MOST = 300_000  # bytes of all answers with the whole page, as a browser asks for it
SOURCES_MOST = 700_000
PROTOCOLS = ("tlsrt.1", "tlsrt-enrol.1")
UPGRADE = {
    "Host": "host.example:7443", "Origin": "https://host.example:7443", "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "tlsrt.1",
}  # fmt: skip


def ask(line: str, fields: dict[str, str], names: HostNames = NAMES) -> FileRequest | UpgradeRequest:
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value)]
    held = bytearray("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    head = head_untrusted(held)
    assert head is not None
    return request_untrusted(head, names, PROTOCOLS)


def refused(line: str, fields: dict[str, str], names: HostNames = NAMES) -> int:
    with pytest.raises(WebRefusal) as caught:
        ask(line, fields, names)
    return caught.value.status


@pytest.mark.parametrize("host", ["host.example", "HOST.example:7443", "192.0.2.7:7443", "[2001:db8::7]:7443"])
def test_a_file_is_asked_for(host: str) -> None:
    found = ask("GET /app.js HTTP/1.1", {"Host": host})
    assert found == FileRequest("/app.js", False, "", True, "", False, False)
    assert ask(f"HEAD https://{host}/app.js HTTP/1.0", {}) == FileRequest("/app.js", True, "", False, "", False, False)


@pytest.mark.parametrize(
    ("line", "host", "status"),
    [
        ("GET / HTTP/1.1", "", 400),
        ("GET / HTTP/1.1", "evil.example", 421),
        ("GET / HTTP/1.1", "host.example.evil.example", 421),
        ("GET / HTTP/1.1", "192.0.2.8", 421),
        ("GET / HTTP/1.1", "host.example:99999", 400),
        ("GET / HTTP/1.1", "user@host.example", 400),
        ("GET https://evil.example/ HTTP/1.1", "host.example", 421),
        ("GET https://host.example HTTP/1.1", "host.example", 400),
        ("GET http://host.example/ HTTP/1.1", "host.example", 400),
        ("GET app.js HTTP/1.1", "host.example", 400),
        ("POST / HTTP/1.1", "host.example", 405),
        ("OPTIONS / HTTP/1.1", "host.example", 405),
        ("GET / HTTP/2.0", "host.example", 400),
        ("get / HTTP/1.1", "host.example", 400),
        ("GET  / HTTP/1.1", "host.example", 400),
    ],
)
def test_what_is_not_for_this_host_or_no_request_is_refused(line: str, host: str, status: int) -> None:
    if line.startswith("get"):
        with pytest.raises(WebRefusal):
            head_untrusted(bytearray(b"get"))
        return
    assert refused(line, {"Host": host}) == status


def test_a_host_without_a_name_is_asked_for_nothing() -> None:
    assert refused("GET / HTTP/1.1", {"Host": "host.example"}, HostNames()) == 421


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("Content-Length", "5", 413), ("Transfer-Encoding", "chunked", 413), ("Content-Length", "0", 0)],
)
def test_a_request_has_no_body(field: str, value: str, status: int) -> None:
    fields = {"Host": "host.example", field: value}
    if status:
        assert refused("GET / HTTP/1.1", fields) == status
    else:
        assert isinstance(ask("GET / HTTP/1.1", fields), FileRequest)


def test_an_upgrade_is_asked_for_by_a_page_of_ours() -> None:
    key = UPGRADE["Sec-WebSocket-Key"]
    assert ask("GET /tlsrt HTTP/1.1", UPGRADE) == UpgradeRequest(key, "tlsrt.1")
    assert ask("GET /tlsrt HTTP/1.1", {**UPGRADE, "Sec-Fetch-Site": "same-origin"}) == UpgradeRequest(key, "tlsrt.1")
    enrolling = {**UPGRADE, "Sec-WebSocket-Protocol": "tlsrt-enrol.1"}
    assert ask("GET /tlsrt HTTP/1.1", enrolling) == UpgradeRequest(key, "tlsrt-enrol.1")


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("Origin", "", 403),
        ("Origin", "null", 403),
        ("Origin", "https://evil.example", 403),
        ("Origin", "http://host.example:7443", 403),
        ("Origin", "https://host.example", 403),  # another port is another origin
        ("Origin", "https://192.0.2.7:7443", 403),  # another name of ours, too
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Upgrade", "", 426),
        ("Upgrade", "h2c", 426),
        ("Connection", "keep-alive", 400),
        ("Sec-WebSocket-Version", "8", 426),
        ("Sec-WebSocket-Key", "", 400),
        ("Sec-WebSocket-Key", "AAAA", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ!==", 400),
        ("Sec-WebSocket-Protocol", "", 400),
        ("Sec-WebSocket-Protocol", "tlsrt.1, tlsrt-enrol.1", 400),
        ("Sec-WebSocket-Protocol", "chat", 400),
    ],
)
def test_other_upgrades_are_refused(field: str, value: str, status: int) -> None:
    assert refused("GET /tlsrt HTTP/1.1", {**UPGRADE, field: value}) == status


def test_fields_that_decide_stand_once() -> None:
    for line in ("Host: evil.example", "origin: https://host.example:7443", "Sec-WebSocket-Protocol: tlsrt.1"):
        lines = ["GET /tlsrt HTTP/1.1", *(f"{name}: {value}" for name, value in UPGRADE.items()), line]
        with pytest.raises(WebRefusal):
            request_untrusted("\r\n".join(lines).encode() + b"\r\n", NAMES, PROTOCOLS)


@pytest.mark.parametrize(
    "line", [b"X: a\rb", b"X : a", b" X: a", b"X", b"X: a\0", b"X: a\nHost: evil.example", b": a", b"X\x80: a"]
)
def test_malformed_fields_are_refused(line: bytes) -> None:
    with pytest.raises(WebRefusal):
        request_untrusted(b"GET / HTTP/1.1\r\nHost: host.example\r\n" + line + b"\r\n", NAMES, PROTOCOLS)


@pytest.mark.parametrize("last", [b"\x01", b"x", b""])
def test_blanks_cost_no_more_than_other_bytes(last: bytes) -> None:
    """A pattern with blanks on both sides of a value took 2.5 s for this one, and minutes for a whole head of them."""
    began = time.process_time()
    with contextlib.suppress(WebRefusal):
        request_untrusted(
            b"GET / HTTP/1.1\r\nHost: host.example\r\nA:" + b" " * 1500 + last + b"\r\n", NAMES, PROTOCOLS
        )
    assert time.process_time() - began < 0.5


def test_a_head_is_bounded() -> None:
    assert head_untrusted(bytearray()) is None
    assert head_untrusted(bytearray(b"GET / HTTP/1.1\r\n")) is None
    with pytest.raises(WebRefusal) as caught:
        head_untrusted(bytearray(b"GET /" + b"a" * HEAD_MAX))
    assert caught.value.status == 431
    with pytest.raises(WebRefusal) as caught:
        request_untrusted(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 65, NAMES, PROTOCOLS)
    assert caught.value.status == 431


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    for head in (data, b"GET " + data, b"GET / HTTP/1.1\r\nHost: host.example\r\n" + data):
        try:
            found = head_untrusted(bytearray(head + b"\r\n\r\n"))
            if found is not None:
                request_untrusted(found, NAMES, PROTOCOLS)
        except WebRefusal as refusal:
            refusal_answer(refusal.status, refusal.sentence)


@given(st.text(alphabet="/.%2ef\\:~\0index.html", max_size=40))
def test_no_path_but_the_exact_ones_is_found(path: str) -> None:
    page = PageFiles({"index.html": b"hello"})
    assert (page.find(path) is not None) == (path in ("/", "/index.html"))


def test_the_frame_of_components_pages_has_a_policy_of_its_own() -> None:
    page = PageFiles(read_page())
    frame, index = page.find("/frame.html"), page.find("/index.html")
    assert frame is not None and index is not None
    script = frame.body.split(b"<script>")[1].split(b"</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    policy = frame.strict["Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'; worker-src blob:" in policy
    assert policy.startswith("sandbox allow-scripts; default-src 'none'") and "'unsafe" not in policy
    assert "frame-ancestors 'self'" in policy and "microphone=()" in frame.strict["Permissions-Policy"]
    assert "frame-ancestors 'none'" in index.strict["Content-Security-Policy"]
    head = file_answer(frame, frame.tag(packed=True), takes_gzip=True, is_head=False, keeps=True)
    assert head.startswith(b"HTTP/1.1 304 ") and head.count(b"sandbox allow-scripts") == 1


def test_the_page_that_is_installed_is_whole() -> None:
    files = read_page()
    page = PageFiles(files)
    assert page.digest == digest_of(files) and len(page.digest) == 64
    index = page.find("/")
    assert index is not None and index.body == files["index.html"]
    answer = file_answer(index, "", takes_gzip=False, is_head=False, keeps=True)
    assert answer.endswith(b"\r\n\r\n" + index.body) and b"Connection: close" not in answer
    for packed in (True, False):
        tags = f'"x", W/{index.tag(packed=packed)}'
        same = file_answer(index, tags, takes_gzip=packed, is_head=False, keeps=True)
        assert same.startswith(b"HTTP/1.1 304 ") and b"Vary: Accept-Encoding\r\n" in same
        # what one browser keeps is no answer for the other form
        assert file_answer(index, tags, takes_gzip=not packed, is_head=False, keeps=True).startswith(b"HTTP/1.1 200 ")


def test_what_travels_of_the_page_is_small_and_the_same_each_time() -> None:
    files, travels = read_page(), 0
    page, again = PageFiles(files), PageFiles(files)
    for name, body in files.items():
        file = page.find(f"/{name}")
        assert file is not None and file.size == len(body) and file.body == body
        answer = file_answer(file, "", takes_gzip=True, is_head=False, keeps=True)
        travels += len(answer)
        head, _, packed = answer.partition(b"\r\n\r\n")
        assert gzip.decompress(packed) == body and f"Content-Length: {len(packed)}".encode() in head.split(b"\r\n")
        assert b"Content-Encoding: gzip" in head and b"Vary: Accept-Encoding" in head
        assert file_answer(file, "", takes_gzip=True, is_head=True, keeps=True) == head + b"\r\n\r\n"
        plain = file_answer(file, "", takes_gzip=False, is_head=True, keeps=True)
        assert f"Content-Length: {len(body)}".encode() in plain and b"Content-Encoding" not in plain
        other = again.find(f"/{name}")
        assert other is not None and other.packed == packed  # no time in it
    sources = sum(map(len, files.values()))
    print(f"{sources} bytes of sources, {travels} that travel")
    assert travels < TRAVEL_MOST and sources < SOURCES_MOST


@pytest.mark.parametrize(
    ("value", "takes"),
    [
        ("gzip", True), ("gzip, deflate, br, zstd", True), ("br;q=1.0, gzip;q=0.8, *;q=0.1", True), ("*", True),
        ("GZIP", True), ("x-gzip", True), ("gzip ;q=0.001", True), ("gzip\t;\tq=1.000", True), (",gzip,", True),
        ("identity;q=0, gzip", True), ("gzip;q=1, *;q=0", True),
        ("", False), ("identity", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0.000", False),
        ("*;q=0", False), ("*, gzip;q=0", False), ("gzip, gzip;q=0", False), ("gzip;q=0, gzip", False),
        ("gzip;q=2", False), ("gzip;q=-1", False), ("gzip;q=nan", False), ("gzip;q=1e9", False), ("gzip;q=", False),
        ("gzip;level=9", False), ("gzip;q=1;q=0", False), ("gzip gzip", False), ("gzi\xf0p", False), ("gzipx", False),
        ("br," * 90 + "gzip", False), ("gzip," * 1600, False), ("gzip;q=0." + "0" * 4000, False), ("," * 8000, False),
    ],
)  # fmt: skip
def test_gzip_is_for_those_alone_who_say_so_plainly(value: str, takes: bool) -> None:
    assert takes_gzip_untrusted(value) is takes
    found = ask("GET /app.js HTTP/1.1", {"Host": "host.example", "Accept-Encoding": value})
    assert isinstance(found, FileRequest) and found.takes_gzip is takes


@given(st.text(alphabet="gzip*;q=01. ,\t-\xff", max_size=300))
def test_any_accept_encoding_is_a_yes_or_a_no(value: str) -> None:
    assert takes_gzip_untrusted(value) in (True, False)
