"""Budgets of egress rules over time: the kernel is asked what sockets carry, denials become events, use is kept.

A connection is charged when it is begun (`egress_account.py`). How much it carries the kernel tells: every 2 s while a
budget has sockets open, and, where the supervisor may hear of it, at its end. So what a connection carries beyond its
budget is at most what it carries in 2 s; then it is ended, where the supervisor may do that, and new ones are refused.
The bytes of the day are kept in RUN_DIR, for the next supervisor of the same boot.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tlsrt.config.needs import EgressConfig
from tlsrt.config.schema import Config
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.egress_account import UNLISTED, Denial, EgressAccount, EntryUse
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.name_files import read_file
from tlsrt.supervisor.process.socket_diag import (
    SocketInfo,
    end_socket,
    listen_for_ends,
    parse_untrusted,
    sockets_now,
)
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, Reply, Request

KEPT = "egress-use.json"
SAMPLE_S, IDLE_SAMPLE_S = 2.0, 30.0
SUM_S = 60.0  # denials of one kind are told once in so long
_LEAST_REFRESH_S = 0.2  # a process at its limit must not have all sockets listed with each try
_AT_ONCE = 64
WORDS = {
    "per_minute": "connections within a minute", "at_once": "connections at once", "sent_mb_per_day": "MiB sent today",
    "received_mb_per_day": "MiB received today", UNLISTED: "hosts that no egress rule lists",
}  # fmt: skip


class EgressMeter(Feature):
    """The accounts of this life."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._uses = context.current.children.uses
        self._uses.listen(self._refresh, self._opened, self._denied)
        self._asked_at = float("-inf")
        self._timer: Timer | None = None
        self._ends: socket.socket | None = None
        self._pending: dict[tuple[str, str], int] = {}  # process and kind of denial -> how many since the last event
        self.problem = ""
        self._take_entries()
        self._path = context.current.config.run_dir / KEPT
        with suppress(ValueError):
            self._uses.restore(json.loads(read_file(self._path) or b"null"))

    def epoch_begun(self) -> None:
        self._take_entries()

    def stopped(self, exit_code: int) -> None:
        self._sample()
        self._close()

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"egress": ControlVerb(self._answer)}

    def _answer(self, request: Request, reply: Reply) -> None:
        self._refresh()
        reply({"processes": self.document(), "problem": self.problem})

    def document(self) -> list[dict[str, Any]]:
        """Return the use of every process that has egress rules."""
        wall = self._uses.wall()
        accounts = sorted(self._uses.accounts.values(), key=lambda one: one.name)
        return [_of_account(account, wall) for account in accounts if account.entries or account.denied]

    def _take_entries(self) -> None:
        self._uses.follow(entries_of(self._context.current.config))
        counts = any(use.budget.counts_bytes for one in self._uses.accounts.values() for use in one.entries)
        if counts and self._ends is None:
            with suppress(OSError):  # without CAP_NET_ADMIN, samples are all there is
                self._ends = listen_for_ends()
                self._context.event_loop.watch(self._ends.fileno(), lambda events: self._hear_ends())
        elif not counts:
            self._close()

    def _close(self) -> None:
        if self._ends is not None:
            self._context.event_loop.forget(self._ends.fileno())
            self._ends.close()
            self._ends = None

    # What the kernel says

    def _opened(self) -> None:
        if self._timer is None:
            self._timer = self._context.event_loop.call_later(SAMPLE_S, self._again)

    def _again(self) -> None:
        self._timer = None
        self._sample()
        used = self._uses.open_uses()
        if used:
            delay_s = SAMPLE_S if any(use.entry.budget for use in used) else IDLE_SAMPLE_S
            self._timer = self._context.event_loop.call_later(delay_s, self._again)

    def _refresh(self) -> None:
        if self._context.event_loop.now - self._asked_at >= _LEAST_REFRESH_S:
            self._sample()

    def _sample(self) -> None:
        """Ask the kernel about the sockets that are open, and end those that are beyond their budget."""
        used = self._uses.open_uses()
        self._asked_at = self._context.event_loop.now
        if not used:
            return
        try:
            now = sockets_now()
        except (OSError, PeerError) as error:
            self.problem = f"the kernel does not tell of sockets ({error}): connections count as open until a restart"
            return
        self.problem = ""
        wall = self._uses.wall()
        self._hear_ends()  # before what is not there any more is taken for gone
        for use in used:
            for cookie in [*use.open]:
                if (info := now.get(cookie)) is None:
                    del use.open[cookie]
                else:
                    use.carried(cookie, info.sent, info.received, wall)
            self._end_beyond(use, now, wall)
        self._keep()

    def _hear_ends(self) -> None:
        wall = self._uses.wall()
        for _ in range(_AT_ONCE if self._ends is not None else 0):
            try:
                infos = parse_untrusted(self._ends.recv(1 << 16)) or []  # type: ignore[union-attr]
            except BlockingIOError:
                return
            except (OSError, PeerError):  # ENOBUFS: some were lost, and their last bytes are not counted
                continue
            for info in infos:
                for use in self._uses.open_uses():
                    use.carried(info.cookie, info.sent, info.received, wall)
                    use.open.pop(info.cookie, None)

    def _end_beyond(self, use: EntryUse, now: Mapping[bytes, SocketInfo], wall: float) -> None:
        over = use.over_bytes(wall)
        if not over or not use.open:
            return
        account = next(one for one in self._uses.accounts.values() if use in one.entries)
        ended = 0
        for cookie in use.open:
            try:
                end_socket(now[cookie])
                ended += 1
            except (OSError, PeerError) as error:
                if getattr(error, "errno", 0) in (errno.EPERM, errno.EOPNOTSUPP):
                    self.problem = "this host lets tlsrt end no connection: those that are open go on beyond a budget"
        if ended:
            account.deny(over, f"{use.entry.why}: {over} is {getattr(use.budget, over)}")

    # Denials

    def _denied(self, account: EgressAccount, denial: Denial) -> None:
        key = account.name, denial.what
        if key in self._pending:
            self._pending[key] += 1
            return
        self._pending[key] = 0
        self._context.event_loop.call_later(SUM_S, lambda: self._sum_up(account, denial.what))
        if denial.what != UNLISTED:  # which is told as a host that is wanted
            self._emit(account, denial, 1)

    def _sum_up(self, account: EgressAccount, what: str) -> None:
        count = self._pending.pop((account.name, what))
        if count:
            last = next(one for one in reversed(account.last) if one.what == what or count)
            self._emit(account, Denial(what, last.sentence, last.at), count)

    def _emit(self, account: EgressAccount, denial: Denial, count: int) -> None:
        times = f"{count} connections were" if count > 1 else "a connection was"
        self._context.events.emit(
            "egress_denied", account.name, f"{times} refused ({WORDS[denial.what]}): {denial.sentence}",
            limit=denial.what, count=count,
        )  # fmt: skip

    def _keep(self) -> None:
        if not (kept := self._uses.kept()):
            return
        new = self._path.with_name(f".{self._path.name}")
        with suppress(OSError):  # it is a limit, and the host goes on without its memory
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w") as file:
                json.dump(kept, file)
            os.replace(new, self._path)


def entries_of(config: Config) -> dict[str, list[EgressConfig]]:
    """Return the egress entries of each process, and of each program as PROCESS/PROGRAM. Pure."""
    found: dict[str, list[EgressConfig]] = {}
    for loop in config.loops:
        found[loop.name] = [*loop.egress]
        for component in config.components_of(loop.name):
            found[loop.name] += component.needs.egress
            for program in component.all_programs:
                found[f"{loop.name}/{program.name}"] = [*program.egress]
    return {name: entries for name, entries in found.items() if entries}


def _of_account(account: EgressAccount, wall: float) -> dict[str, Any]:
    return {
        "process": account.name,
        "entries": [_of_entry(use, wall) for use in account.entries],
        "denied": account.denied,
        "denials": [{"at": one.at, "what": one.what, "sentence": one.sentence} for one in account.last],
    }


def _of_entry(use: EntryUse, wall: float) -> dict[str, Any]:
    use.over_bytes(wall)
    budget = use.budget
    return {
        "to": [rule.form for rule in use.entry.rules],
        "why": use.entry.why,
        "connections": use.connections,
        "minute": len(use.begun) if budget.per_minute else None,
        "open": len(use.open),
        "sent_bytes_today": use.sent,
        "received_bytes_today": use.received,
        "budget": {
            name: getattr(budget, name) or None
            for name in ("per_minute", "at_once", "sent_mb_per_day", "received_mb_per_day")
        },
    }
