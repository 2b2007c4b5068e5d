"""Options of messages: other hosts, groups, mailboxes that are sent on, and how much there may be."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated

from tlsrt import Length, Range
from tlsrt.loops.external.message import HOST, LOCAL, TO, TO_RULE, public_key, split_host
from tlsrt.loops.external.message_schema import Bounds

_MIB = 1 << 20
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """Another host: by what it is known here, and the way to it."""

    key: Annotated[str, Length(64), "What `tlsrt call external/messages key` shows there."] = ""
    client: Annotated[str, Length(130), "The client of this host that it is here, such as client/attic."] = ""
    secret: Annotated[str, Length(40), "The secret that is the bundle of a client of that host; empty: no way."] = ""

    def __post_init__(self) -> None:
        if self.client and not (self.client.startswith("client/") and LOCAL.fullmatch(self.client)):
            raise ValueError("client: write client/NAME, as `tlsrt-supervisor client list` has it")
        if self.client and not self.key:
            raise ValueError("key: what comes from a host is believed by its signature, so its key must be set")
        if self.key:
            public_key(self.key)


@dataclass(frozen=True, kw_only=True)
class MessagesOptions:
    """Options: other hosts, and how much is kept."""

    name: Annotated[str, Length(63), "How other hosts call this one, as in client/anna@NAME."] = ""
    hosts: Annotated[dict[str, HostOptions], Length(64), "Other hosts, by the names that addresses have."] = field(
        default_factory=dict
    )
    groups: Annotated[dict[str, tuple[str, ...]], Length(256), "Addresses that `group/NAME` stands for."] = field(
        default_factory=dict
    )
    forwards: Annotated[dict[str, str], Length(256), "Mailboxes whose messages go on to another host."] = field(
        default_factory=dict
    )
    operators: Annotated[tuple[str, ...], Length(64), "Who sees the outbox of all, without bodies."] = ("client/admin",)
    expires_s: Annotated[float, Range(60, 366 * 86_400), "When a message expires that does not say so, seconds."] = (
        7 * 86_400.0
    )
    messages: Annotated[int, Range(16, 1_000_000), "Messages of all; a sender has a quarter."] = 20_000
    total_mb: Annotated[int, Range(1, 1 << 20), "MiB of all, with attachments; a sender has a quarter."] = 160
    mailboxes: Annotated[int, Range(2, 10_000), "Mailboxes."] = 256
    mailbox_messages: Annotated[int, Range(2, 100_000), "Messages in one mailbox; a sender has half of it."] = 1000
    mailbox_mb: Annotated[int, Range(1, 1 << 20), "MiB in one mailbox, without attachments."] = 16
    outgoing: Annotated[int, Range(2, 100_000), "Messages that may wait for one host; a sender has half."] = 5000
    attachment_mb: Annotated[int, Range(1, 1024), "MiB of one attachment."] = 32
    retry_s: Annotated[float, Range(1, 86_400), "Longest pause until a host that is away is tried again."] = 300.0

    index: Annotated[bool, "Whether secondary/search keeps texts of mailboxes, for `find`."] = False

    def __post_init__(self) -> None:
        for name in (*self.hosts, *([self.name] if self.name else [])):
            if not HOST.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a host: write a-z, 0-9 and -")
        if self.hosts and (not self.name or self.name in self.hosts):
            raise ValueError("name: with `hosts`, say how they call this host; no other has that name")
        clients = [one.client for one in self.hosts.values() if one.client]
        if len(set(clients)) < len(clients):
            raise ValueError("hosts: two of them are the same client: give each a client of its own")
        for name, members in self.groups.items():
            if not _GROUP.fullmatch(name):
                raise ValueError(f"groups: {name!r} is no name: write a-z, 0-9, _ and -")
            for one in members:
                if one.startswith("group/") or not TO.fullmatch(one):
                    raise ValueError(f"groups: {one!r} is no address: write {TO_RULE}, and no group")
            if len(members) > 64:
                raise ValueError(f"groups: {name} has {len(members)} members, and 64 are the most")
        for box, to in self.forwards.items():
            if not LOCAL.fullmatch(box) or not TO.fullmatch(to) or split_host(to)[1] not in self.hosts:
                raise ValueError(f"forwards: {box}: write a mailbox here, and an address at one of `hosts`")

    @property
    def bounds(self) -> Bounds:
        """Return how much there may be."""
        return Bounds(
            self.messages, self.total_mb * _MIB, self.mailboxes, self.mailbox_messages, self.mailbox_mb * _MIB,
            self.outgoing, self.attachment_mb * _MIB,
        )  # fmt: skip
