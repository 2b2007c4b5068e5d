"""What becomes of a mail that has come: whose it is, whether that is believed, and what of it is handed in. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NamedTuple

from tlsrt.loops.external.mail_options import MailOptions
from tlsrt.loops.external.mail_parts import (
    BadMailError,
    Field,
    Part,
    content_untrusted,
    parts_untrusted,
    values_of,
    words_untrusted,
)
from tlsrt.loops.external.mail_proof import has_token, is_vouched, sender_of, token_of
from tlsrt.loops.external.mail_tables import Thread
from tlsrt.loops.external.mail_text import text_of
from tlsrt.loops.external.message import ATTACHMENTS

_MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]{3,250}>")
_AUTOMATIC = frozenset({"bulk", "junk", "list", "auto_reply"})
_UNNAMED = re.compile(r"[^A-Za-z0-9._-]+")
_TRAIL = 8  # ids of a thread that are kept
_REMARKS = 20


class File(NamedTuple):
    """An attachment, with a name that a message takes."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Mail:
    """A mail that is believed to be of a person."""

    person: str
    key: str  # what a repetition has the same
    thread: Thread
    answers: list[str]
    text: str
    files: list[File]


@dataclass(frozen=True)
class Dropped:
    """A mail that is not taken: a word for the figures, and a reason for people."""

    word: str
    reason: str


def read_mail_untrusted(data: bytes, size: int, options: MailOptions, key: bytes | None) -> Mail | Dropped:
    """Return what a mail is, of which `data` is the beginning if it has more than these bytes (`size`). Cannot fail."""
    try:
        fields, parts, is_cut = parts_untrusted(data)
    except BadMailError as error:
        return Dropped("unreadable", str(error))
    sender = sender_of(fields)
    if sender is None:
        return Dropped("unknown", "it has not one sender")
    people = {one.address.lower(): name for name, one in options.people.items() if one.to}
    person = people.get(sender)
    if person is None:
        return Dropped("unknown", f"{sender} is none of the people")
    if reason := _automatic(fields):
        return Dropped("automatic", f"{sender}: {reason}")
    for proof in options.people[person].proof:
        if proof == "token":
            is_proved = key is not None and has_token(fields, options.address, token_of(key, person))
            lack = "it is not addressed to the address with their word"
        else:
            domain = sender.rpartition("@")[2]
            is_proved = is_vouched(fields, options.server, options.received, domain)
            lack = f"{options.server} does not say that {domain} vouches for it"
        if not is_proved:
            return Dropped("unproved", f"it says that it is from {sender}, and {lack}")
    ids = _MESSAGE_ID.findall((values_of(fields, "message-id") or [""])[0])[:1]
    known = ids[0] if ids else "digest " + hashlib.sha256(data).hexdigest()
    trail = _MESSAGE_ID.findall(" ".join(values_of(fields, "references")[:1]))
    replied = _MESSAGE_ID.findall(" ".join(values_of(fields, "in-reply-to")[:1]))
    subject = words_untrusted((values_of(fields, "subject") or [""])[0])
    remarks = ["it has more parts than are looked at"] if is_cut else []
    text, is_text_cut, used = text_of(data, parts)
    if is_text_cut:
        remarks.append("its text goes on")
    if size > len(data):
        remarks.append(f"of its {size} bytes the first {len(data)} were taken: the rest is in the mailbox")
        files: list[File] = []
    else:
        files, left_out = _files(data, parts, used)
        remarks += left_out
    return Mail(
        person, known, Thread(ids[0] if ids else "", " ".join(trail[-_TRAIL:]), subject),
        [*replied[:_TRAIL], *reversed(trail[-_TRAIL:])], _body(subject, text, remarks), files,
    )  # fmt: skip


def _automatic(fields: list[Field]) -> str:
    """Return why no one has written a mail, so that two programs do not answer each other (RFC 3834)."""
    for value in values_of(fields, "auto-submitted"):
        if value.partition(";")[0].strip().lower() != "no":
            return "an automatic mail"
    for value in values_of(fields, "precedence"):
        if value.strip().lower() in _AUTOMATIC:
            return "a mail to many"
    if values_of(fields, "list-id"):
        return "a mail of a list"
    if any(value.strip() == "<>" for value in values_of(fields, "return-path")):
        return "a report of a mail server"
    return ""


def _body(subject: str, text: str, remarks: list[str]) -> str:
    lines = [f"Subject: {subject}", ""] if subject else []
    lines += [text] if text else []
    lines += ["", *(f"[{one}]" for one in remarks[:_REMARKS])] if remarks else []
    return "\n".join(lines)


def _files(data: bytes, parts: list[Part], used: Part | None) -> tuple[list[File], list[str]]:
    """Return the attachments, and what is said of those that are left out."""
    files: dict[str, File] = {}
    left_out: list[str] = []
    for number, part in enumerate(parts, 1):
        if part is used or (part.type in ("text/plain", "text/html") and not part.file_name and not part.is_attachment):
            continue
        if len(files) >= ATTACHMENTS:
            left_out.append(f"left out, as there are more than {ATTACHMENTS}: {part.file_name or f'part {number}'}")
            continue
        name = file_name_of(part.file_name, number)
        while name in files:
            name = f"{number}-{name}"[-120:].lstrip("-.")
        files[name] = File(name, content_untrusted(data, part, part.end - part.start))
    return list(files.values()), left_out


def file_name_of(name: str, number: int) -> str:
    """Return a name of a file that a message takes: no folder, no other letters, never a hidden one."""
    last = _UNNAMED.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip("._-")
    return last[-100:].lstrip("._-") or f"part-{number}"
