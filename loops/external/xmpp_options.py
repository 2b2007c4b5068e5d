"""Options of external/xmpp: the account, and the people to whom it carries messages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tlsrt import Length, Range

PEOPLE = 32
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]
SCRAM: tuple[Mechanism, ...] = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_JID = re.compile(r"[^@/\s\"&'<>:]{1,255}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5}")


@dataclass(frozen=True, kw_only=True)
class PersonOptions:
    """A person at an XMPP server."""

    jid: Annotated[str, Length(1024, 3), "The address, as anna@example.org: what comes from there is of this person."]
    to: Annotated[str, Length(512), "Who gets what the person writes, as client/anna; empty: it is refused."] = ""
    taken_by: Annotated[
        Literal["device", "server"], "Who has to say that it has a message: an app of the person, or the server alone."
    ] = "device"

    def __post_init__(self) -> None:
        if not _JID.fullmatch(self.jid):
            raise ValueError(f"{self.jid[:80]!r} is no address of XMPP: write it as anna@example.org")


@dataclass(frozen=True, kw_only=True)
class XmppOptions:
    """Options: an account, its server, and people."""

    jid: Annotated[str, Length(1024), "The account of this host, as house@example.org; one that no one else uses."] = ""
    server: Annotated[
        str, Length(300), "HOST:PORT, if it is not port 5222 (5223 with `direct_tls`) of the domain of the account."
    ] = ""
    direct_tls: Annotated[bool, "TLS from the first byte, instead of STARTTLS; one of both it always is."] = False
    ca: Annotated[str, Length(4096, 1), "A file of certificates to trust; it must be readable."] = (
        "/etc/ssl/certs/ca-certificates.crt"
    )
    mechanisms: Annotated[
        tuple[Mechanism, ...], Length(4, 1),
        "Logins that may be used; PLAIN shows the server the password.",
    ] = SCRAM  # fmt: skip
    people: Annotated[dict[str, PersonOptions], Length(PEOPLE), "By name, which is the topic of its messages."] = field(
        default_factory=dict[str, PersonOptions]
    )
    window: Annotated[int, Range(1, 256), "Messages that may wait for the app of one person at a time."] = 64
    again_s: Annotated[
        float, Range(1, 86_400), "A message is sent again if no app has said so long that it has it."
    ] = 3600.0
    retry_s: Annotated[float, Range(1, 86_400), "Longest pause until the server is tried again, seconds."] = 300.0
    per_minute: Annotated[int, Range(1, 6000), "Messages of one person that are taken in a minute."] = 60
    names_sender: Annotated[bool, "A text that goes out begins with the address of its sender."] = True

    def __post_init__(self) -> None:
        if self.jid and not _JID.fullmatch(self.jid):
            raise ValueError(f"jid: {self.jid[:80]!r} is no address of XMPP: write it as house@example.org")
        if self.server and (not _SERVER.fullmatch(self.server) or not 0 < int(self.server.rpartition(":")[2]) < 65_536):
            raise ValueError(f"server: {self.server[:80]!r} is no HOST:PORT")
        for name in self.people:
            if not _NAME.fullmatch(name):
                raise ValueError(f"people: {name!r} is no name: write a-z, 0-9, _ and -")
        jids = [one.jid.lower() for one in self.people.values()]
        if twice := sorted({one for one in jids if jids.count(one) > 1}):
            raise ValueError(f"people: {twice[0]} is there twice: no one could tell whose messages these are")

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the server."""
        if self.server:
            host, _, port = self.server.rpartition(":")
            return host.strip("[]"), int(port)
        return self.jid.partition("@")[2], 5223 if self.direct_tls else 5222
