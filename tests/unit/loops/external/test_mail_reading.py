"""What becomes of a mail: taken with its text and files, or dropped with a reason."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from tlsrt.loops.external.mail_message import mail_of, message_id_of, subject_of
from tlsrt.loops.external.mail_options import ImapOptions, MailOptions, PersonOptions, SmtpOptions
from tlsrt.loops.external.mail_reading import Dropped, Mail, file_name_of, read_mail_untrusted
from tlsrt.loops.external.mail_tables import Thread
from tlsrt.loops.external.message import BODY_BYTES, FILE_NAME

PROOF = b"Authentication-Results: mail.example.org; dkim=pass header.d=home.example\n"
OPTIONS = MailOptions(
    address="house@example.org", smtp=SmtpOptions(host="mail.example.org"), imap=ImapOptions(host="mail.example.org"),
    server="mail.example.org",
    people={
        "anna": PersonOptions(address="Anna@home.example", to="client/anna"),
        "both": PersonOptions(address="both@home.example", to="client/both", proof=("domain", "token")),
        "out": PersonOptions(address="out@home.example"),
    },
)  # fmt: skip
MESSAGE: dict[str, Any] = {
    "id": "0" * 32, "from": "client/anna", "topic": "anna", "content_type": "text/plain", "body": "hi", "created_ms": 1,
}  # fmt: skip


def read(data: bytes, size: int | None = None) -> Mail | Dropped:
    return read_mail_untrusted(data, len(data) if size is None else size, OPTIONS, b"k" * 32)


def test_a_mail_is_taken_with_its_thread_and_its_text() -> None:
    mail = read(
        PROOF + b"From: anna@home.example\nSubject: Re: cat\nMessage-ID: <c@x>\nIn-Reply-To: <b@x>\n"
        b"References: <a@x> <b@x>\n\nit is in\n"
    )
    assert isinstance(mail, Mail)
    assert (mail.person, mail.key, mail.text) == ("anna", "<c@x>", "Subject: Re: cat\n\nit is in")
    assert mail.thread == Thread("<c@x>", "<a@x> <b@x>", "Re: cat") and mail.answers == ["<b@x>", "<b@x>", "<a@x>"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "unknown"), (b"From: eve@evil.example\n\nx", "unknown"), (b"From: anna@home.example\n\nx", "unproved"),
        (PROOF + b"From: out@home.example\n\nx", "unknown"), (PROOF + b"From: both@home.example\n\nx", "unproved"),
        (PROOF + b"From: anna@home.example\nAuto-Submitted: Auto-Replied; x\n\nx", "automatic"),
        (PROOF + b"From: anna@home.example\nPrecedence: Bulk\n\nx", "automatic"),
        (PROOF + b"From: anna@home.example\nList-Id: <x.y>\n\nx", "automatic"),
        (b"Return-Path: <>\n" + PROOF + b"From: anna@home.example\n\nx", "automatic"),
        (PROOF + b"From: house@example.org\n\nx", "unknown"), (b"X: y\n" * 60_000, "unreadable"),
    ],
)  # fmt: skip
def test_what_is_not_taken(data: bytes, word: str) -> None:
    found = read(data)
    assert isinstance(found, Dropped) and found.word == word and "\n" not in found.reason


def test_a_mail_without_an_id_is_known_by_its_content() -> None:
    data = PROOF + b"From: anna@home.example\nAuto-Submitted: no\n\nx"
    first, again, other = read(data), read(data), read(data + b"y")
    assert isinstance(first, Mail) and isinstance(again, Mail) and isinstance(other, Mail)
    assert first.key == again.key != other.key and first.thread.message_id == ""


def test_the_beginning_of_a_mail_that_is_too_large_is_taken_with_a_remark() -> None:
    mail = EmailMessage()
    mail["From"] = "anna@home.example"
    mail.set_content("look")
    mail.add_attachment(b"x" * 100_000, maintype="image", subtype="png", filename="a.png")
    data = PROOF + mail.as_bytes()
    found = read(data[:2000], len(data))
    assert isinstance(found, Mail) and found.files == []
    assert found.text.startswith("look\n\n[of its ") and "the first 2000 were taken" in found.text


def test_hundreds_of_files_are_bounded_and_their_names_harmless() -> None:
    mail = EmailMessage()
    mail["From"] = "anna@home.example"
    mail.set_content("x" * 200_000)
    for _ in range(40):
        mail.add_attachment(b"x", maintype="a", subtype="b", filename="../../.ssh/authorized_keys")
    found = read(PROOF + mail.as_bytes())
    assert isinstance(found, Mail) and len(found.files) == 16 == len({one.name for one in found.files})
    assert all(FILE_NAME.fullmatch(one.name) for one in found.files) and len(found.text.encode()) <= BODY_BYTES
    for name in ("", "..", "/", "a\0b", "ü.png", "x" * 500, "..\\..\\c.exe", "\u202egpj.exe"):
        assert FILE_NAME.fullmatch(file_name_of(name, 3))


def test_a_message_goes_out_without_a_field_of_its_sender() -> None:
    hostile = {**MESSAGE, "from": "client/a\r\nBcc: eve@evil.example", "body": "x\r\n.\r\nMAIL FROM:<eve@evil.example>"}
    thread = Thread("<c@x>", "<a@x>", "cat\r\nBcc: eve@evil.example")
    subject = subject_of(hostile, "anna", "message", thread)
    mail = message_from_bytes(
        mail_of(hostile, "house@example.org", "anna@home.example", subject, "", thread, []), policy=default
    )
    assert mail["Bcc"] is None and mail["To"] == "anna@home.example"
    assert (mail["In-Reply-To"], mail["References"]) == ("<c@x>", "<a@x> <c@x>")
    assert mail["Subject"] == "Re: cat Bcc: eve@evil.example"


def test_subjects_ids_and_what_a_program_has_sent() -> None:
    assert subject_of({**MESSAGE, "topic": "anna.garden.door"}, "anna", "message", None) == "garden.door"
    assert subject_of(MESSAGE, "anna", "message", None) == "message"
    assert message_id_of(MESSAGE, "a@x.y") == message_id_of(dict(MESSAGE), "a@X.Y")
    assert message_id_of(MESSAGE, "a@x.y") != message_id_of({**MESSAGE, "from": "client/eve"}, "a@x.y")
    for thread, word in ((None, "auto-generated"), (Thread("<c@x>", "", ""), "auto-replied")):
        data = mail_of({**MESSAGE, "from": "third/notify"}, "h@x.y", "a@x.y", "s", "", thread, [])
        found = read_mail_untrusted(PROOF + data.replace(b"h@x.y", b"anna@home.example"), len(data), OPTIONS, None)
        assert isinstance(found, Dropped) and found.word == "automatic"
        assert f"Auto-Submitted: {word}".encode() in data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": "house"}, "no mail address"), ({"people": {"A b": PersonOptions(address="a@b.c")}}, "is no name"),
        ({"people": {name: PersonOptions(address="a@b.c") for name in "ab"}}, "b has the address of a"),
        ({"people": {"a": PersonOptions(address="house@example.org")}}, "address of this host"),
        ({"server": ""}, "name the own server"), ({"server": "a b"}, "no name such as"),
        ({"user": "a\nb"}, "printable"),
    ],
)  # fmt: skip
def test_wrong_options_are_told(change: dict[str, Any], words: str) -> None:
    values = {name: getattr(OPTIONS, name) for name in ("address", "smtp", "imap", "people", "server")}
    with pytest.raises(ValueError, match=words):
        MailOptions(**{**values, **change})
    with pytest.raises(ValueError, match="no address of a host"):
        PersonOptions(address="a@b.c", to="anna")
