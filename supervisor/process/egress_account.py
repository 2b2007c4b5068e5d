"""What one process has of its egress budgets: connections begun, open and refused, and bytes of the day. Pure.

Each entry of rules is counted by itself, under its text: so it goes on over restarts of the process, and over a reload
that leaves it as it is. Sockets are known by their cookies (SO_COOKIE), which the kernel gives once; how many bytes
they have carried, and which are gone, is said by who asks the kernel (`egress_meter.py`).
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tlsrt.config.budgets import BudgetConfig
from tlsrt.config.name_rules import Rule
from tlsrt.config.needs import EgressConfig

MINUTE_S, DAY_S = 60.0, 86400
DENIALS_KEPT = 8
UNLISTED = "unlisted"
_MIB = 1 << 20
_SO_COOKIE = 57
_UNLIMITED = BudgetConfig()


@dataclass(frozen=True, slots=True)
class Denial:
    """A connection that was refused, or several of the same kind: of which budget, and in words."""

    what: str  # `unlisted`, or the name of a budget
    sentence: str
    at: float  # wall clock


@dataclass(slots=True)
class EntryUse:
    """What the rules of one entry have taken."""

    entry: EgressConfig
    begun: deque[float] = field(default_factory=deque[float])  # monotonic, those of the last minute
    open: dict[bytes, tuple[int, int]] = field(default_factory=dict[bytes, tuple[int, int]])  # cookie -> sent, received
    connections: int = 0  # since the host has started
    day: int = 0
    sent: int = 0  # bytes of that day
    received: int = 0

    @property
    def budget(self) -> BudgetConfig:
        return self.entry.budget or _UNLIMITED

    @property
    def key(self) -> str:
        return " ".join(sorted(rule.form for rule in self.entry.rules))

    def turn(self, wall: float) -> None:
        """Begin a new day at midnight (UTC). A clock that is set back does not give a day again."""
        day = int(wall // DAY_S)
        if day > self.day:
            self.day, self.sent, self.received = day, 0, 0

    def over_bytes(self, wall: float) -> str:
        """Return the name of the budget of bytes that is used up; "" for none."""
        self.turn(wall)
        for name, used in (("sent_mb_per_day", self.sent), ("received_mb_per_day", self.received)):
            most = getattr(self.budget, name)
            if most and used >= most * _MIB:
                return name
        return ""

    def over(self, now: float, wall: float, is_open: bool) -> str:
        """Return the name of the budget that one more connection would overrun; "" for none."""
        while self.begun and self.begun[0] <= now - MINUTE_S:
            self.begun.popleft()
        if name := self.over_bytes(wall):
            return name
        if self.budget.per_minute and len(self.begun) >= self.budget.per_minute:
            return "per_minute"
        return "at_once" if self.budget.at_once and not is_open and len(self.open) >= self.budget.at_once else ""

    def carried(self, cookie: bytes, sent: int, received: int, wall: float) -> None:
        """Note how many bytes a socket has carried in all."""
        if cookie in self.open:
            self.turn(wall)
            before = self.open[cookie]
            self.sent += max(0, sent - before[0])
            self.received += max(0, received - before[1])
            self.open[cookie] = max(sent, before[0]), max(received, before[1])


class EgressAccount:
    """The account of one process, or of all runs of one program."""

    def __init__(self, name: str, uses: EgressUses) -> None:
        self.name = name
        self._uses = uses
        self.entries: list[EntryUse] = []
        self.denied = 0
        self.last: deque[Denial] = deque(maxlen=DENIALS_KEPT)

    def follow(self, entries: Iterable[EgressConfig]) -> None:
        """Go by these entries; one that was there before goes on."""
        before = {use.key: use for use in self.entries}
        self.entries = []
        for entry in entries:
            use = EntryUse(entry)
            if (old := before.get(use.key)) is not None:
                old.entry = entry
                use = old
            self.entries.append(use)

    def take(self, rule: Rule, connecting: socket.socket) -> bool:
        """Charge a connection that a rule allows; False, and a denial, if a budget does not."""
        use = next((one for one in self.entries if rule in one.entry.rules), None)
        if use is None:
            return True
        cookie = connecting.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
        now, wall, is_open = self._uses.clock(), self._uses.wall(), cookie in use.open
        over = use.over(now, wall, is_open)
        if over == "at_once":
            self._uses.refresh()  # some may have ended since the kernel was asked last
            over = use.over(now, wall, is_open)
        if over:
            self.deny(over, f"{use.entry.why}: {over} is {getattr(use.budget, over)}")
            return False
        if use.budget.per_minute:
            use.begun.append(now)
        use.connections += 1
        use.open.setdefault(cookie, (0, 0))
        self._uses.opened()
        return True

    def deny(self, what: str, sentence: str) -> None:
        """Note a connection that was refused."""
        self.denied += 1
        denial = Denial(what, sentence, self._uses.wall())
        self.last.append(denial)
        self._uses.on_denied(self, denial)


class EgressUses:
    """The accounts of all processes of a life, changed while they run."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:  # fmt: skip
        self.clock, self.wall = clock, wall
        self.accounts: dict[str, EgressAccount] = {}
        self.refresh: Callable[[], None] = lambda: None
        self.opened: Callable[[], None] = lambda: None
        self.on_denied: Callable[[EgressAccount, Denial], None] = lambda account, denial: None

    def listen(
        self, refresh: Callable[[], None], opened: Callable[[], None],
        on_denied: Callable[[EgressAccount, Denial], None],
    ) -> None:  # fmt: skip
        """Have these called: to ask the kernel anew, when a socket is open, and of each denial."""
        self.refresh, self.opened, self.on_denied = refresh, opened, on_denied

    def of(self, name: str) -> EgressAccount:
        """Return the account of a process, or PROCESS/PROGRAM."""
        return self.accounts.setdefault(name, EgressAccount(name, self))

    def follow(self, entries: Mapping[str, Iterable[EgressConfig]]) -> None:
        """Go by the entries of a configuration: of each process and program."""
        for name in {*self.accounts, *entries}:
            self.of(name).follow(entries.get(name, ()))

    def open_uses(self) -> list[EntryUse]:
        """Return what has sockets open."""
        return [use for account in self.accounts.values() for use in account.entries if use.open]

    # Over a restart of the supervisor

    def kept(self) -> dict[str, dict[str, list[int]]]:
        """Return what outlives this life: day and bytes of each entry with a budget of bytes."""
        return {
            account.name: {use.key: [use.day, use.sent, use.received] for use in kept}
            for account in self.accounts.values()
            if (kept := [use for use in account.entries if use.budget.counts_bytes])
        }

    def restore(self, kept: object) -> None:
        """Take what was kept; what is none of ours is left out."""
        for name, uses in kept.items() if isinstance(kept, dict) else ():
            known = {use.key: use for use in self.of(name).entries} if name in self.accounts else {}
            for key, value in uses.items() if isinstance(uses, dict) else ():
                is_whole = isinstance(value, list) and [type(one) for one in value] == [int] * 3
                if key in known and is_whole and min(value) >= 0 and value[0] <= int(self.wall() // DAY_S):
                    known[key].day, known[key].sent, known[key].received = value
