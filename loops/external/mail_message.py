"""A message of this host as a mail. Pure. What people have written comes into fields without line breaks, encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from tlsrt.loops.external.mail_parts import words_untrusted
from tlsrt.loops.external.mail_tables import Thread

_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp",
    "pdf": "application/pdf", "txt": "text/plain", "wav": "audio/wav", "mp3": "audio/mpeg", "ogg": "audio/ogg",
    "opus": "audio/ogg", "mp4": "video/mp4", "json": "application/json", "csv": "text/csv", "zip": "application/zip",
}  # fmt: skip


def message_id_of(message: dict[str, Any], own: str) -> str:
    """Return the Message-ID of a message: the same each time, and another for each sender."""
    digest = hashlib.sha256(f"{message['from']}\0{message['id']}".encode()).hexdigest()[:40]
    return f"<{digest}@{own.rpartition('@')[2].lower()}>"


def subject_of(message: dict[str, Any], name: str, otherwise: str, thread: Thread | None) -> str:
    """Return the subject: that of the mail which is answered, or what the topic has behind the name of the person."""
    if thread is not None and thread.subject:
        subject = words_untrusted(thread.subject)
        return subject if subject.lower().startswith("re:") else f"Re: {subject}"
    return message["topic"].removeprefix(name).lstrip(".") or otherwise


def mail_of(
    message: dict[str, Any], own: str, to: str, subject: str, reply_to: str, thread: Thread | None,
    files: Sequence[tuple[str, bytes]],
) -> bytes:  # fmt: skip
    """Return a message as a mail that goes from `own` to `to`. What a program has sent is marked as such (RFC 3834)."""
    local, _, domain = own.rpartition("@")
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(words_untrusted(message["from"]), local, domain)
    mail["To"] = to
    if reply_to:
        mail["Reply-To"] = reply_to
    mail["Subject"] = words_untrusted(subject)
    mail["Date"] = formatdate(message["created_ms"] / 1000)
    mail["Message-ID"] = message_id_of(message, own)
    if thread is not None and thread.message_id:
        mail["In-Reply-To"] = thread.message_id
        mail["References"] = f"{thread.trail} {thread.message_id}".strip()
    if not message["from"].startswith("client/"):
        mail["Auto-Submitted"] = "auto-generated" if thread is None else "auto-replied"
    body = message["body"]
    if isinstance(body, str):
        mail.set_content(body + "\n", cte="quoted-printable")
    else:
        mail.set_content("\n", cte="quoted-printable")
        mail.add_attachment(body, *_type_of(message["content_type"]), filename="message.bin")
    for name, data in files:
        mail.add_attachment(data, *_type_of(_TYPES.get(name.rpartition(".")[2].lower(), "")), filename=name)
    return mail.as_bytes()


def _type_of(kind: str) -> tuple[str, str]:
    main, _, sub = kind.partition(";")[0].partition("/")
    return (
        (main, sub)
        if main in ("image", "audio", "video", "application", "text") and sub
        else ("application", "octet-stream")
    )
