"""Notifications for people: kept on the disk, brought by carriers, escalated until a person acknowledges them.

What `send` has acknowledged is in the database with a delivery for each carrier, so it outlives kill -9; a carrier gets
it at least once, under a name that is the same each time. The sender is the caller that the gate vouches for: no one
speaks as another. Rules and bounds are in notice_rules.py and notice_tables.py, deliveries in outbox.py.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from tlsrt import (
    CallError,
    Component,
    ConfigError,
    InvalidArgument,
    Length,
    NotFound,
    Pattern,
    Range,
    Transaction,
    database,
    handler,
)
from tlsrt.loops.third.event_notice import SOURCE, draft_of
from tlsrt.loops.third.mail_carrier import MailCarrier, mail_of
from tlsrt.loops.third.notice import (
    BODY,
    COMMENT,
    KEY,
    TAG,
    TAGS,
    TITLE,
    Draft,
    Message,
    Severity,
    State,
    one_line,
    some_lines,
)
from tlsrt.loops.third.notice_rules import CONSOLE, TOPIC
from tlsrt.loops.third.notice_tables import STEPS, Bounds, Kept, NoticeTables
from tlsrt.loops.third.notify_options import DESKTOP, NotifyOptions
from tlsrt.loops.third.outbox import Carrier, Outbox
from tlsrt.loops.third.sender_rates import SenderRates
from tlsrt.loops.third.webhook_carrier import WebhookCarrier

_PAUSE_S = 5.0
_YEAR_S = 366 * 86_400.0
Title = Annotated[str, Length(TITLE, 1)]
Body = Annotated[str, Length(BODY)]
Topic = Annotated[str, Pattern(TOPIC, "a name such as heating.boiler")]
Tags = Annotated[list[Annotated[str, Length(TAG, 1)]], Length(TAGS)]
Number = Annotated[int, Range(1, 1 << 53)]
Notices = list[dict[str, Any]]  # named here, because in the class `list` is a handler


class Notify(Component):
    """Notifications: what people should know, until they have said that they know it."""

    Options = NotifyOptions
    topics = {  # noqa: RUF012
        "notice": "a notification for people, as the console has it",
        "changed": "one was acknowledged, was withdrawn or has expired: as `list` shows it",
        "undelivered": "a delivery was given up: id, carrier, reason",
    }
    db = database(steps=STEPS)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    def warm_up(self) -> None:
        """Read certificates and have libraries load what they load at first use, while files can be opened."""
        self._contexts = {name: _context(one.ca) for name, one in self.options.mail.items()}
        for options in self.options.mail.values():
            message = Message("x", 1, "ä", "ä", "info", "x", (), "x/y", 1, 1, 0)
            mail_of(message, options).as_bytes()
        "x".encode("idna")
        time.localtime()
        self._make_desktop: Callable[..., Carrier] | None = None
        if self.options.desktop is not None:
            try:
                from tlsrt.loops.third.desktop_carrier import DesktopCarrier  # only with the extra
            except ImportError:
                raise ConfigError("the carrier desktop needs dbus-fast: pip install 'tlsrt[dbus]'") from None
            self._make_desktop = DesktopCarrier

    async def start(self) -> None:
        options = self.options
        self._tables = NoticeTables(
            options.routes, options.escalations, options.quiet, Bounds(options.keep, options.waiting)
        )
        self._rates = SenderRates(options.burst, options.per_minute / 60)
        self._outbox = Outbox(
            self.db,
            self._tables,
            self._carriers(),
            options.give_up_s,
            self.wall_ms,
            self._gave_up,
            self.count,
            self.log,
        )
        self._later = asyncio.Event()
        for name in self._outbox.names:
            self.spawn(partial(self._outbox.pump, name), name=f"carrier {name}")
        self.spawn(self._keep_time, name="expiry and escalation")
        kinds = dict(options.host_events)
        if options.alerts:
            kinds.setdefault("security", "alarm")
        for kind, least in kinds.items():
            self.spawn(partial(self._follow, kind, least), name=f"events {kind}")

    def _carriers(self) -> dict[str, Carrier]:
        options = self.options
        carriers: dict[str, Carrier] = {CONSOLE: _Console(partial(self.publish, "notice"))}
        for name, mail in options.mail.items():
            password = self._text_of(name, mail.secret) if mail.user else ""
            carriers[name] = MailCarrier(mail, self._contexts[name], password, self.work)
        for name, hook in options.webhooks.items():
            token = self._text_of(name, hook.secret) if hook.secret else ""
            carriers[name] = WebhookCarrier(hook, token, partial(self.call, "external/fetch", "request"))
        if options.desktop is not None and self._make_desktop is not None:
            desktop = options.desktop
            carriers[DESKTOP] = self._make_desktop(desktop.bus, desktop.timeout_s, self._acknowledged_there, self.spawn)
        return carriers

    def _text_of(self, carrier: str, secret: str) -> str:
        value = self.secret(secret, None)
        if value is None:
            raise ConfigError(
                f"carrier {carrier} has no password: `tlsrt-supervisor secret set {self.address} {secret}`"
            )
        try:
            return value.decode().rstrip("\n")
        except UnicodeDecodeError:
            raise ConfigError(f"secret {secret} of {self.address} is no text") from None

    async def healthy(self) -> str | None:
        if trouble := await self.db.check():
            return trouble
        away = [f"carrier {name}: {why}" for name, why in sorted(self._outbox.away.items())]
        return "; ".join(away) or None

    # -- senders ----------------------------------------------------------------------------------------------

    @handler
    async def send(
        self, title: Title, body: Body = "", severity: Severity = "info", topic: Topic | None = None,
        tags: Tags | None = None, key: Annotated[str, Length(KEY)] = "",
        expires_s: Annotated[float, Range(1, _YEAR_S)] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Keep a notification and bring it to people: its `id`, and the carriers that it goes `to`.

        While one of yours with the same `key` is open, that is counted up instead (`is_repeated`), and brought again
        only if it is more severe. Of too many at once people get a sum (`is_summed`). One that expires is taken back.
        """
        now = self.wall_ms()
        head = one_line(title)
        if not head:
            raise InvalidArgument("title: it has no character that is to be seen")
        marks = tuple(one_line(tag) for tag in tags or ())
        until = None if expires_s is None else now + int(expires_s * 1000)
        draft = Draft(self.caller, head, some_lines(body), severity, topic or "", marks, one_line(key), until)
        return _answer(await self._take(draft, now))

    async def _take(self, draft: Draft, now: int) -> Kept:
        known = await self.db.query(self._tables.known, draft.sender, draft.key) if draft.key else None
        if known is not None or self._rates.take(draft.sender, time.monotonic()):
            kept = await self.db.transaction(self._tables.send, draft, now)
            self.count("repeated" if kept.is_repeated else "sent")
        else:
            window_ms = int(self.options.sum_s * 1000)
            kept = await self.db.transaction(self._tables.sum_up, draft, now, window_ms)
            self.count("summed")
        self._outbox.wake(kept.carriers)
        self._later.set()
        return kept

    @handler(idempotent=True)
    async def withdraw(self, id: Number | None = None, key: Annotated[str, Length(KEY, 1)] | None = None) -> bool:
        """Take a notification of yours back, by its id or key: what waits is not delivered; tells whether it was open.

        Who reads all may withdraw any by its id.
        """
        if (id is None) == (key is None):
            raise InvalidArgument("give either id or key")
        if id is None:
            id = await self.db.query(self._tables.known, self.caller, one_line(key or ""))
            if id is None:
                return False
        owner = None if self._reads_all() else self.caller
        return (await self._close(id, "withdrawn", self.caller, "", owner))[1]

    # -- readers ----------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def list(
        self, limit: Annotated[int, Range(1, 100)] = 50, before: Number | None = None, severity: Severity = "info",
        state: State | None = None, topic: Topic | None = None, sender: Annotated[str, Length(130, 1)] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Notifications, the newest first, of at least a severity; `next` is the `before` of the next page, or null.

        Who is not named in the option `readers` sees those that it has sent.
        """
        if not self._reads_all():
            sender = self.caller
        found: Notices = await self.db.query(self._tables.page, limit + 1, before, severity, state, topic, sender)
        page = found[:limit]
        return {"notices": page, "next": page[-1]["id"] if len(found) > limit else None}

    @handler(idempotent=True)
    async def show(self, id: Number) -> dict[str, Any]:
        """One notification, and what became of it at each carrier (`deliveries`)."""
        reader = None if self._reads_all() else self.caller
        found: dict[str, Any] = await self.db.query(self._tables.one, id, reader)
        return {**found, "deliveries": await self.db.query(self._tables.deliveries, id)}

    @handler(idempotent=True)
    async def acknowledge(self, id: Number, comment: Annotated[str, Length(COMMENT)] = "") -> dict[str, Any]:
        """Say that a person knows it: escalation ends. Returns it, with who was the first to say so, and when."""
        if not self._reads_all():
            raise NotFound(f"there is no notification {id} that you may acknowledge")
        return (await self._close(id, "acknowledged", self.caller, some_lines(comment), None))[0]

    @handler(idempotent=True)
    async def outbox(self) -> dict[str, Any]:
        """For each carrier what waits, since when, when it is tried next, and why not now."""
        waiting = await self.db.query(self._tables.outbox)
        nothing = {"waiting": 0, "since_ms": None, "next_ms": None, "error": None}
        return {
            name: {**nothing, **waiting.get(name, {}), "away": self._outbox.away.get(name)}
            for name in sorted({*self._outbox.names, *waiting})
        }

    def _reads_all(self) -> bool:
        caller = self.caller
        return any(each in ("*", caller, f"{caller.partition('/')[0]}/*") for each in self.options.readers)

    async def _close(
        self, number: int, state: State, by: str, comment: str, owner: str | None
    ) -> tuple[dict[str, Any], bool]:
        closed, is_changed = await self.db.transaction(
            self._tables.close, number, state, by, comment, self.wall_ms(), owner
        )
        if is_changed:
            self.count(state)
            self._tell_closed(closed)
        return closed, is_changed

    def _tell_closed(self, closed: dict[str, Any]) -> None:
        self.publish("changed", closed)
        self._outbox.take_back(closed["id"])

    def _acknowledged_there(self, number: int) -> None:
        """A button of the desktop was pressed."""
        self.spawn(self._acknowledge_by_desktop(number))

    async def _acknowledge_by_desktop(self, number: int) -> None:
        try:
            await self._close(number, "acknowledged", DESKTOP, "", None)
        except CallError as error:
            self.log.warning("cannot acknowledge notification %d: %s", number, error.message)

    # -- beside the callers -----------------------------------------------------------------------------------

    def _gave_up(self, carrier: str, message: Message, reason: str) -> None:
        self.publish("undelivered", {"id": message.id, "carrier": carrier, "reason": reason})
        self.alert("undelivered")

    async def _keep_time(self) -> None:
        """Let notifications expire and escalate them, at their times."""
        while True:
            self._later.clear()
            try:
                due = await self.db.query(self._tables.next_change)
                delay_s = 3600.0 if due is None else (due - self.wall_ms()) / 1000
                if delay_s > 0:
                    await self._wait(min(delay_s, 3600.0))
                    continue
                expired, carriers = await self.db.transaction(self._tables.pass_time, self.wall_ms())
            except CallError as error:  # the disk; its health tells the operator
                self.log.warning("cannot look after expiry and escalation: %s", error.message)
                await asyncio.sleep(_PAUSE_S)
                continue
            self._outbox.wake(carriers)
            for one in expired:
                self.count("expired")
                self._tell_closed(one)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._later.wait()
        except TimeoutError:
            pass

    async def _follow(self, kind: str, least: str) -> None:
        """Make notifications of events of the host. How far it has read is kept with them, so each becomes one."""
        name = f"at {kind}"
        since = await self.db.query(self._tables.position, name)
        events = self.follow(SOURCE, kind, since=since)
        try:
            async for event in events:
                draft = draft_of(event, kind, least, self.address, with_alerts=self.options.alerts)
                while draft is not None:
                    try:
                        kept = await self.db.transaction(self._take_event, draft, name, events.at, self.wall_ms())
                    except CallError as error:
                        self.log.warning("cannot keep an event of the host: %s", error.message)
                        await asyncio.sleep(_PAUSE_S)
                        continue
                    self.count("events")
                    self._outbox.wake(kept.carriers)
                    self._later.set()
                    break
        except CallError as error:  # policy does not let it
            self.log.warning("no notifications of events %s: %s", kind, error.message)
            await asyncio.sleep(60 * _PAUSE_S)

    def _take_event(self, transaction: Transaction, draft: Draft, name: str, at: str, now_ms: int) -> Kept:
        kept = self._tables.send(transaction, draft, now_ms)
        self._tables.keep_position(transaction, name, at)
        return kept


class _Console:
    """Tells who subscribes to the topic `notice`; others find it by `list`."""

    timeout_s = 10.0

    def __init__(self, publish: Callable[[object], None]) -> None:
        self._publish = publish

    async def deliver(self, message: Message) -> None:
        self._publish(message.told())

    def take_back(self, number: int) -> None:
        """The topic `changed` tells it."""


def _answer(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.id, "is_repeated": kept.is_repeated, "is_summed": kept.is_summed, "to": [*kept.carriers],
    }  # fmt: skip


def _context(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot read certificates in {ca}: {error}; see `read` under its needs") from None
