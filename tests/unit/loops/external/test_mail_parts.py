"""Parts of mails: those of people, and those that are made to hurt."""

from __future__ import annotations

import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.mail_parts import (
    CHARSETS,
    DEPTH,
    FIELD_BYTES,
    HEADER_BYTES,
    PARTS,
    BadMailError,
    content_untrusted,
    decoded_untrusted,
    parts_untrusted,
    values_of,
    words_untrusted,
)
from tlsrt.loops.external.mail_text import TEXT_BYTES, bounded, text_of, text_of_html_untrusted


def test_a_mail_of_the_standard_library_is_taken_apart() -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "anna@example.org", "grüße, " * 30
    mail.set_content("schön\n")
    mail.add_alternative("<p>nicht der</p>", subtype="html")
    mail.add_attachment(b"\0\1\2" * 500, maintype="image", subtype="png", filename="bild ü.png")
    data = mail.as_bytes()
    fields, parts, is_cut = parts_untrusted(data)
    assert not is_cut and [one.type for one in parts] == ["text/plain", "text/html", "image/png"]
    assert words_untrusted(values_of(fields, "subject")[0]) == ("grüße, " * 30).strip()
    assert text_of(data, parts)[:2] == ("schön", False)
    assert (parts[2].file_name, parts[2].is_attachment) == ("bild ü.png", True)
    assert content_untrusted(data, parts[2], len(data)) == b"\0\1\2" * 500


def test_lines_that_only_begin_as_the_boundary_does_end_no_part() -> None:
    data = (
        b"Content-Type: multipart/mixed; boundary=x\n\nbefore\n--x\n\none\n--xy\n --x\n--x \n\ntwo\n--x--\n--x\n\nthree"
    )
    _, parts, _ = parts_untrusted(data)
    assert [data[one.start : one.end] for one in parts] == [b"one\n--xy\n --x", b"two"]


def test_many_parts_and_deep_ones_are_cut() -> None:
    many = b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\na\n" * 200_000
    began = time.monotonic()
    _, parts, is_cut = parts_untrusted(many)
    assert is_cut and len(parts) == PARTS
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(20_000)) + b"\nx"
    _, parts, is_cut = parts_untrusted(deep)
    assert is_cut and len(parts) == 0 and DEPTH < 20
    assert time.monotonic() - began < 20


def test_header_fields_are_bounded() -> None:
    with pytest.raises(BadMailError, match="256 KiB of header fields"):
        parts_untrusted(b"X: y\n" * (HEADER_BYTES // 5 + 1) + b"\nbody")
    with pytest.raises(BadMailError):
        parts_untrusted(b"X" * (HEADER_BYTES + 1))
    fields, _, _ = parts_untrusted(b"Subject: " + b"x" * FIELD_BYTES + b"\n folded\nFrom: a@b\n\n")
    assert [one.name for one in fields] == ["from"]
    inner = b"Content-Type: multipart/mixed; boundary=x\n\n--x\n" + b"X: y\n" * 20_000 + b"\n\n--x\n\nb\n--x--"
    assert len(parts_untrusted(inner)[1]) == 1 and parts_untrusted(inner)[2]


@pytest.mark.parametrize(
    "charset", ["utf-7", "unicode_escape", "idna", "rot13", "zip", "hex", "", "x" * 99, "é", "a\0b"]
)
def test_what_is_no_character_set_of_people_is_not_decoded_as_one(charset: str) -> None:
    assert decoded_untrusted(b"a \\x41 +AEE- \xff", charset) == "a \\x41 +AEE- �"


def test_broken_text_of_each_character_set_becomes_text() -> None:
    for charset in CHARSETS:
        decoded_untrusted(bytes(range(256)) * 3 + b"\x1b", charset)


def test_fields_are_shown_in_one_line_without_what_steers() -> None:
    assert words_untrusted("=?utf-8?q?a=0D=0ABcc:_b=1B[2J=E2=80=AE?=") == "a Bcc: b [2J"
    for broken in ("=?utf-8?b?a?=", "=?no-such?q?=ff?=", "=?utf-8?q?" + "=ff" * 900 + "?=", "=?" * 1000):
        assert len(words_untrusted(broken)) <= 400


def test_html_is_read_and_nothing_of_it_followed() -> None:
    html = (
        "<head><title>t</title><style>p{}</style></head><p>Hello<br>there &amp; <a href='https://evil.example/'>bank</a>"
        "<script>x()</script><img src='https://track.example/1.gif'></p>"
    )
    assert text_of_html_untrusted(html) == "Hello\nthere & bank <https://evil.example/>"


@pytest.mark.parametrize("piece", ["<!--", "<a href='", "&#", "<![CDATA[", "<p><", "</", "<!DOCTYPE [", "<script>"])
def test_hostile_html_is_read_in_time(piece: str) -> None:
    data = b"Content-Type: text/html\n\n" + piece.encode() * (8 << 20)
    data = data[: 8 << 20]
    began = time.monotonic()
    _, parts, _ = parts_untrusted(data)
    text, _, _ = text_of(data, parts)
    assert len(text.encode()) <= TEXT_BYTES
    assert time.monotonic() - began < 20


def test_text_is_bounded_in_bytes() -> None:
    text, is_cut = bounded("ä" * TEXT_BYTES)
    assert is_cut and len(text.encode()) == TEXT_BYTES
    assert bounded("a\x1b[2J\r\nb\t\u202ec") == ("a [2J\nb\t c", False)


_PIECES = [
    b"Content-Type: multipart/mixed; boundary=x\n", b"--x\n", b"--x--\n", b"\n", b"\r\n", b"a", b"\xff", b"From: a@b\n",
    b"Content-Transfer-Encoding: base64\n", b"Content-Type: text/html; charset*=''x; name*0*=a'b'c\n",
    b"Content-Disposition: attachment; filename*=nope'x'%ff\n", b"=?utf-8?b?x?=", b"quoted-printable", b":", b" ",
]  # fmt: skip


@given(st.binary(max_size=2000) | st.lists(st.sampled_from(_PIECES), max_size=40).map(b"".join))
def test_any_bytes_are_parts_or_a_bad_mail(data: bytes) -> None:
    fields, parts, _ = parts_untrusted(data)
    text_of(data, parts)
    for part in parts:
        assert 0 <= part.start <= part.end <= len(data)
        content_untrusted(data, part, len(data))
    for one in fields:
        assert "\n" not in one.value and "\r" not in one.value
        words_untrusted(one.value)
