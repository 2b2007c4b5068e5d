"""Options of mail: the servers, and the people outside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tlsrt import Length, Range
from tlsrt.loops.external.mail_proof import ADDRESS
from tlsrt.loops.external.message import TO, TO_RULE

PEOPLE = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SERVER = re.compile(r"[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True, kw_only=True)
class SmtpOptions:
    """The server that takes mail of this host."""

    host: Annotated[str, Length(253, 1), "The server; `needs: egress` must list it with the port."]
    port: Annotated[int, Range(1, 65535), "465 for TLS at once, 587 for STARTTLS."] = 465
    security: Annotated[Literal["tls", "starttls"], "When TLS begins; there is none without."] = "tls"


@dataclass(frozen=True, kw_only=True)
class ImapOptions:
    """The server that has mail for this host."""

    host: Annotated[str, Length(253, 1), "The server; `needs: egress` must list it with the port."]
    port: Annotated[int, Range(1, 65535), "A port with TLS from the first byte."] = 993
    folder: Annotated[str, Length(200, 1), "The folder that mail comes into."] = "INBOX"
    done: Annotated[str, Length(200), "The folder that read mail moves to; empty: it stays, marked as seen."] = ""


@dataclass(frozen=True, kw_only=True)
class PersonOptions:
    """Who mail goes to and comes from."""

    address: Annotated[str, Length(254, 3), "Their mail address."]
    to: Annotated[str, Length(200), "Whom at this host their mail is for; empty: theirs is not taken."] = ""
    proof: Annotated[tuple[Literal["domain", "token"], ...], Length(2, 1), "What their mail must have, all of it."] = (
        "domain",
    )

    def __post_init__(self) -> None:
        if not ADDRESS.fullmatch(self.address):
            raise ValueError(f"{self.address!r} is no mail address such as anna@example.org")
        if self.to and not TO.fullmatch(self.to):
            raise ValueError(f"to: {self.to!r} is no address of a host: write {TO_RULE}")


@dataclass(frozen=True, kw_only=True)
class MailOptions:
    """Options: the servers, and the people outside."""

    address: Annotated[str, Length(254, 3), "The address of this host, such as house@example.org."]
    smtp: Annotated[SmtpOptions, "The server that takes mail."]
    imap: Annotated[ImapOptions | None, "The server that has mail; none: mail only goes out."] = None
    user: Annotated[str, Length(254), "The account at both; empty: the address."] = ""
    people: Annotated[dict[str, PersonOptions], Length(PEOPLE), "By name, which is the topic of their messages."] = (
        field(default_factory=dict[str, PersonOptions])
    )
    ca: Annotated[str, Length(1024), "A file of certificates to trust alone; empty for those of the host."] = ""
    server: Annotated[str, Length(253), "The name by which the own server signs Authentication-Results."] = ""
    received: Annotated[int, Range(0, 8), "How many Received fields the own servers put above that at most."] = 2
    subject: Annotated[str, Length(100, 1), "The subject of mail whose topic is only a name."] = "message"
    per_hour: Annotated[int, Range(1, 10_000), "Mails of one person that are taken in an hour; more wait."] = 120
    mail_mb: Annotated[int, Range(1, 32), "MiB of a mail; of one with more the beginning is taken."] = 16
    poll_s: Annotated[float, Range(1, 3600), "How often a server without IDLE is asked, seconds."] = 60.0
    idle_s: Annotated[float, Range(1, 1740), "How long one IDLE lasts at most, seconds (RFC 2177)."] = 540.0
    timeout_s: Annotated[float, Range(1, 300), "For one mail, and for each answer of IMAP, seconds."] = 60.0
    retry_s: Annotated[float, Range(1, 86_400), "Longest pause until a server is tried again, seconds."] = 300.0

    def __post_init__(self) -> None:
        if not ADDRESS.fullmatch(self.address):
            raise ValueError(f"address: {self.address!r} is no mail address such as house@example.org")
        known: dict[str, str] = {self.address.lower(): "this host"}
        for name, one in self.people.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"people: {name!r} is no name: write a-z, 0-9, _ and -")
            if (other := known.setdefault(one.address.lower(), name)) != name:
                raise ValueError(f"people: {name} has the address of {other}")
            if self.imap and one.to and "domain" in one.proof and not self.server:
                raise ValueError(
                    f"people: {name} is believed by its domain: name the own server as `server`, as it stands in "
                    "Authentication-Results of mail that has come, or write `proof: [token]`"
                )
        if self.server and not _SERVER.fullmatch(self.server):
            raise ValueError(f"server: {self.server!r} is no name such as mail.example.org")
        if any(ord(each) < 32 or ord(each) > 126 for each in self.subject + self.user):
            raise ValueError("subject, user: write printable ASCII")

    @property
    def account(self) -> str:
        """The account at both servers."""
        return self.user or self.address
