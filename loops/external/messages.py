"""Messages between components, clients and hosts: kept on the disk until who they are for acknowledges them.

A mailbox is the caller's own address, and the sender is the caller, as the gate knows both: no one reads or writes as
another. What `send` has answered is on the disk, with all that it goes to. Other hosts hand theirs in by `deliver`, as
clients of this one, signed, and for senders of their own alone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

# OpenSSL reads the key of a bundle from a file, so it is written there encrypted: loaded here, before the seal.
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key

from tlsrt import (
    AsyncClient,
    Component,
    ConfigError,
    Denied,
    Failed,
    InvalidArgument,
    Length,
    NotFound,
    Range,
    Unavailable,
    database,
    handler,
)
from tlsrt.loops.external.content_tables import ContentTables, receive
from tlsrt.loops.external.host_intake import HostIntake, answer_of
from tlsrt.loops.external.host_link import HostLink
from tlsrt.loops.external.mailbox_index import FoundMessages, MailboxIndex
from tlsrt.loops.external.mailbox_tables import MailboxTables, fitting
from tlsrt.loops.external.mailbox_watches import MailboxWatches
from tlsrt.loops.external.message import (
    ATTACHMENTS,
    BODY_BYTES,
    FILE_NAME,
    ID,
    MESSAGE,
    YEAR_MS,
    Envelope,
    attached_of,
    private_key,
    public_key,
    without_host,
)
from tlsrt.loops.external.message_expiry import MessageExpiry
from tlsrt.loops.external.message_options import MessagesOptions
from tlsrt.loops.external.message_parameters import (
    ContentType,
    FileName,
    FilePath,
    Id,
    IdPart,
    Limit,
    Offset,
    Position,
    Sender,
    Sha256,
    Size,
    To,
    Topic,
)  # fmt: skip
from tlsrt.loops.external.message_room import MessageRoom
from tlsrt.loops.external.message_schema import STEPS
from tlsrt.loops.external.message_tables import Kept, MessageTables
from tlsrt.loops.external.outgoing_tables import BATCH, Leaving, OutgoingTables

_ = BestAvailableEncryption, load_pem_private_key


class Messages(Component):
    """Messages: a mailbox for each component and client, and a way to other hosts."""

    Options = MessagesOptions
    db = database(steps=STEPS)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        options = self.options
        room = MessageRoom(options.bounds)
        ways = [name for name, one in options.hosts.items() if one.secret]
        self._tables = MessageTables(options.groups, options.forwards, ways, options.name, room)
        self._mailboxes = MailboxTables(self._tables, ways)
        self._outgoing = OutgoingTables(self._tables, options.name)
        self._contents = ContentTables(self._tables, room, options.attachment_mb << 20)
        self._watches = MailboxWatches()
        self._intake = HostIntake(
            {one.client: name for name, one in options.hosts.items() if one.client},
            {name: public_key(one.key) for name, one in options.hosts.items() if one.key},
            self._forged,
        )
        signing = self.secret("signing", None)
        self._key = None if signing is None else private_key(signing)
        self._links: dict[str, HostLink] = {}
        for name in ways:
            self._links[name] = self._link(name, options.hosts[name].secret)
        self._index = MailboxIndex(self, self.db, self.wall_ms, self.options.mailboxes) if options.index else None
        if self._index is not None:
            self.spawn(self._index.run, name="index")
        self._expiry = MessageExpiry(self, self.db, self._tables, self._contents, self._index, self.wall_ms)
        self.spawn(self._expiry.run, name="expiry")
        for name, link in self._links.items():
            self.spawn(link.pump, name=f"host {name}")

    def _link(self, name: str, secret: str) -> HostLink:
        bundle = self.secret(secret, None)
        for value, what in ((bundle, secret), (self._key, "signing")):
            if value is None:
                verb = "make" if what == "signing" else "set"
                again = f"`tlsrt-supervisor secret {verb} {self.address} {what}`"
                raise ConfigError(f"there is no way to host {name}: {again}")
        assert bundle is not None and self._key is not None
        make = partial(AsyncClient, bundle, scratch=self.state)
        return HostLink(
            name, make, self._key, self.db, self._outgoing, self._contents, self.options.retry_s, self.wall_ms,
            self._is_dead, self.count, self.log,
        )  # fmt: skip

    async def stop(self) -> None:
        for link in self._links.values():
            await link.close()

    async def healthy(self) -> str | None:
        if trouble := await self.db.check():
            return trouble
        return "; ".join(f"host {one.name}: {one.away}" for one in self._links.values() if one.away) or None

    # -- senders ----------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def send(
        self, to: To, body: str | bytes = "", topic: Topic | None = None, content_type: ContentType | None = None,
        expires_s: Annotated[float, Range(1, YEAR_MS / 1000)] | None = None,
        priority: Annotated[int, Range(0, 9)] = 4, in_reply_to: Id | None = None,
        attachments: Annotated[list[dict[str, Any]], Length(ATTACHMENTS)] | None = None, id: Id | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Keep a message (64 KiB of text or bytes), and bring it to `to`; it is on the disk when this returns.

        With the same `id` again it is the same message: make one of 32 hexadecimal digits, and repeat after any error.
        `attachments` are files that were sent before by `begin_put` and `go_on_put`: name, size, sha256. `unopened` are
        mailboxes into which no one has looked yet.
        """
        source = self._source()
        if source.startswith("@"):
            raise Denied(f"this client is the host {source[1:]}: it hands messages in by `deliver`")
        now = self.wall_ms()
        if len(body.encode() if isinstance(body, str) else body) > BODY_BYTES:
            raise InvalidArgument(f"body: it has more than {BODY_BYTES} bytes: send it as an attachment")
        kind = content_type or ("text/plain" if isinstance(body, str) else "application/octet-stream")
        until = now + int((self.options.expires_s if expires_s is None else expires_s) * 1000)
        envelope = Envelope(
            id or os.urandom(16).hex(), MESSAGE, self.caller, without_host(to, self.options.name), topic or "", kind,
            body, now, until, priority, in_reply_to or "", attached_of(attachments or []), 0, "",
        )  # fmt: skip
        # Also of a caller that has gone meanwhile: it may be on the disk, and those who watch are told then.
        kept = await asyncio.shield(asyncio.ensure_future(self._keep(source, envelope, now)))
        return {
            "id": envelope.id, "is_new": kept.is_new, "mailboxes": [*kept.mailboxes], "hosts": [*kept.hosts],
            "unopened": [*kept.unopened],
        }  # fmt: skip

    async def _keep(self, source: str, envelope: Envelope, now: int) -> Kept:
        kept = await self.db.transaction(self._tables.keep, source, envelope, now)
        self._tell(kept, "sent")
        return kept

    @handler(idempotent=True)
    async def sent(self, limit: Limit = 50, before: Position | None = None) -> dict[str, Any]:
        """What you have sent, the newest first, with its state at each recipient; `next` is the next `before`.

        States are waiting (for another host), delivered (in the mailbox), read, acknowledged,
        expired (neither read nor acknowledged), dead (given up).
        """
        found = await self.db.query(self._mailboxes.sent, self._source(), limit + 1, before)
        page = fitting(found[:limit])
        return {"messages": page, "next": page[-1]["number"] if len(found) > len(page) else None}

    @handler(idempotent=True)
    async def outbox(self, limit: Limit = 100, after: Position | None = None) -> dict[str, Any]:
        """What waits for other hosts or was given up, with the reason; of all for those in `operators`; no bodies."""
        found = await self.db.query(self._outgoing.outbox, self._owner(), limit, after)
        return {"messages": found, "hosts": {name: link.away for name, link in self._links.items()}}

    @handler(idempotent=True)
    async def retry(self, id: Id) -> list[str]:
        """Have a message tried again that was given up, or at once if it waits; returns the hosts."""
        hosts = await self.db.transaction(self._outgoing.retry, self._owner(), id, self.wall_ms())
        for host in self._links.keys() & hosts:
            self._links[host].hurry()
        return hosts

    @handler(idempotent=True)
    async def drop(self, id: Id) -> int:
        """Have a message go to no further host; returns at how many it had not arrived."""
        return await self.db.transaction(self._outgoing.drop, self._owner(), id, self.wall_ms())

    def _owner(self) -> str | None:
        return None if self.caller in self.options.operators else self._source()

    # -- readers ----------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def inbox(
        self, limit: Limit = 50, after: Position | None = None, topic: Topic | None = None,
        sender: Sender | None = None, state: Literal["all", "new"] = "all",
    ) -> dict[str, Any]:  # fmt: skip
        """What is in your mailbox, without bodies: the important first, then the newest.

        With `after`, a `position`, in the order of arrival, and what came later alone; as many as an answer holds.
        """
        now = self.wall_ms()
        await self._open(now)
        look = partial(self._mailboxes.inbox, is_new=state == "new")
        found = await self.db.query(look, self.caller, limit, after, topic, sender, now)
        return {"messages": fitting(found)}

    @handler(idempotent=True)
    async def find(
        self, text: Annotated[str, Length(4000, 1)], limit: Annotated[int, Range(1, 20)] = 5
    ) -> FoundMessages:
        """Passages of the messages in your mailbox that are nearest to a text: {hits, is_behind}.

        None counts as read by that. `is_behind`: not all is indexed yet.
        """
        if self._index is None:
            raise Unavailable("no index of messages is kept: the option `index: true` keeps one")
        return await self._index.find(self.caller, text, limit)

    @handler(idempotent=True)
    async def read(self, id: IdPart) -> dict[str, Any]:
        """A message with its body; the sender can see that it was read. It stays until `acknowledge`."""
        found, hosts = await self.db.transaction(self._mailboxes.read, self.caller, id, self.wall_ms())
        self._wake(hosts)
        return found

    @handler(idempotent=True)
    async def acknowledge(
        self, ids: Annotated[list[IdPart], Length(100)] = [],  # noqa: B006  # never changed
        positions: Annotated[list[Position], Length(100)] = [],  # noqa: B006
    ) -> int:  # fmt: skip
        """Take messages out of your mailbox: you have done what they ask for. Returns how many these were.

        Programs say which by `positions`: two senders may have used one id.
        """
        now = self.wall_ms()
        done, hosts = await self.db.transaction(self._mailboxes.acknowledge, self.caller, ids, positions, now)
        self.count("acknowledged", done)
        self._wake(hosts)
        self._reindex(self.caller)
        return done

    @handler(idempotent=True)
    async def watch(self, after: Position = 0, topic: Topic | None = None) -> AsyncIterator[dict[str, Any]]:
        """Your messages with bodies in the order of arrival, and each new one as it comes; each once.

        Keep the `position` of the last one that you are done with, and give it as `after` to go on there.
        """
        caller = self.caller
        with self._watches.begin(caller) as event:
            await self._open(self.wall_ms())
            look = partial(self._mailboxes.inbox, by_arrival=True)
            while True:
                event.clear()
                # One at a time, as it is held here for as long as it is not read.
                for one in await self.db.query(look, caller, 1, after, topic, None, self.wall_ms()):
                    yield one
                    after = one["position"]
                    event.set()  # there may be more
                await event.wait()

    async def _open(self, now: int) -> None:
        if not await self.db.query(self._mailboxes.is_opened, self.caller):
            await self.db.transaction(self._mailboxes.open, self.caller, now)

    # -- attachments ------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def begin_put(self, name: FileName, size_bytes: Size, sha256: Sha256) -> dict[str, Any]:
        """Begin to send a file for a message, or go on: `offset` bytes of it are here; `done`: all are."""
        offset, done = await self.db.transaction(
            self._contents.begin, self._source(), name, size_bytes, sha256, self.wall_ms()
        )
        return {"offset": offset, "done": done}

    @handler
    async def go_on_put(
        self, name: FileName, size_bytes: Size, sha256: Sha256, offset: Offset, data: AsyncIterator[bytes]
    ) -> dict[str, Any]:
        """Send the next bytes; they stay, also if this breaks. With the last one the SHA-256 must fit: `done`."""
        there, done = await receive(
            self.db, self._contents, self._source(), (name, size_bytes, sha256), offset, data, self.wall_ms
        )
        return {"offset": there, "done": done}

    @handler(idempotent=True)
    async def forget_put(self, name: FileName, size_bytes: Size, sha256: Sha256) -> bool:
        """Take back a file that no message has; returns whether it was here. Else it goes after a day."""
        return await self.db.transaction(self._contents.forget, self._source(), name, size_bytes, sha256)

    @handler(idempotent=True)
    async def stat(self, path: FilePath) -> dict[str, Any]:
        """Size and SHA-256 of an attachment of a message in your mailbox, `ID/NAME`."""
        row = await self._attachment(path)
        return {"size_bytes": row["size"], "sha256": row["sha256"]}

    @handler(idempotent=True)
    async def read_stream(self, path: FilePath, offset: Offset = 0) -> AsyncIterator[bytes]:
        """The bytes of an attachment of a message in your mailbox, `ID/NAME`, from `offset` on."""
        row = await self._attachment(path)
        while offset < row["size"] and (data := await self.db.query(self._contents.piece, row["number"], offset)):
            yield data
            offset += len(data)

    async def _attachment(self, path: str) -> Any:
        id, _, name = path.partition("/")
        if not ID.fullmatch(id) or not FILE_NAME.fullmatch(name):
            raise NotFound(f"there is no attachment {path!r}: write ID/NAME, with the whole id of a message")
        return await self.db.query(self._mailboxes.content_of, self.caller, id, name)

    # -- other hosts ------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def key(self) -> str:
        """The public key of this host, for the option `hosts` of others."""
        if self._key is None:
            raise Failed(f"this host has no key yet: `tlsrt-supervisor secret make {self.address} signing`")
        return self._key.public_key().public_bytes_raw().hex()

    @handler(idempotent=True)
    async def deliver(
        self, envelopes: Annotated[list[Annotated[list[bytes], Length(2, 2)]], Length(BATCH)],
        heard: Annotated[list[Id], Length(256)] = [],  # noqa: B006  # never changed
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Take signed messages of another host, which is a client of this one; for each its state and reason.

        States are `kept`, `refused` for good, and `later`. `heard` are ids of which it has kept an earlier answer.
        """
        host, now = self._intake.host_of(self.caller), self.wall_ms()
        if host is None:
            raise Denied(f"{self.caller} is no host here: the option `hosts` names the clients that are hosts")
        answers, opened = self._intake.open_untrusted(host, envelopes, now)
        found = await asyncio.shield(asyncio.ensure_future(self._keep_each(host, [*opened.values()], heard, now)))
        answers |= {number: answer_of(outcome) for number, outcome in zip(opened, found, strict=True)}
        return [answers[number] for number in range(len(envelopes))]

    async def _keep_each(self, host: str, envelopes: Any, heard: list[str], now: int) -> list[Kept | Exception]:
        found = await self.db.transaction(self._tables.keep_each, f"@{host}", envelopes, heard, now)
        outcomes = [outcome for _, outcome in found]
        for kept in [one for one in outcomes if isinstance(one, Kept)]:
            self._tell(kept, "received")
        return outcomes

    def _forged(self, host: str, reason: str) -> None:
        self.count("forged")
        self.alert("forged")
        if reason:
            self.log.warning("host %s: a message is refused: %s", host, reason)

    def _reindex(self, *mailboxes: str) -> None:
        if self._index is not None:
            self._index.change(*mailboxes)

    def _source(self) -> str:
        return self._intake.source_of(self.caller)

    def _tell(self, kept: Kept, word: str) -> None:
        self.count(word if kept.is_new else "repeated")
        self._reindex(*kept.mailboxes)
        self._watches.wake(kept.mailboxes)
        self._wake(kept.hosts)
        self._expiry.look_again()

    def _wake(self, hosts: Any) -> None:
        for host in self._links.keys() & hosts:
            self._links[host].wake()

    def _is_dead(self, host: str, one: Leaving, reason: str) -> None:
        self.log.warning("message %s to %s@%s is given up: %s", one.envelope.id, one.envelope.to, host, reason)
        self.alert("undeliverable")
