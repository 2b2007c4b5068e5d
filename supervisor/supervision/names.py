"""Names of egress rules: asked for when it is time, judged, pinned, and written to where their processes look.

A name is asked for as long as a rule has it, whether it is used or not: so who controls a component cannot tell a name
server anything, not even when it connects. What a server says of a name counts as far as a rule lets it (see
`config/name_rules.py`), and an address of this host itself only where every rule of the name lists its network.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from functools import partial
from typing import Any

from tlsrt.channels.control.resolver import Outcome
from tlsrt.config.name_rules import NameRule
from tlsrt.config.resolver import Asking, parse_hosts, parse_resolv_conf
from tlsrt.sandbox.seccomp.own_address import is_own_address
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.name_files import read_file, write_name_files
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.name_lookup import NameLookup
from tlsrt.supervisor.supervision.resolver_process import ResolverProcess

RESOLV_CONF, HOSTS = "/etc/resolv.conf", "/etc/hosts"
_HOSTS_TTL_S = 30  # of what the host's own file says
_REASONS = {Outcome.FAILED: "no server could tell", Outcome.SILENT: "no server answers"}
_LEAST_WAIT_S, _LONGEST_WAIT_S = 0.1, 60.0


class Names(Feature):
    """All names of the configuration in force."""

    def __init__(self, context: Context, resolver: ResolverProcess) -> None:
        self._context = context
        self._resolver = resolver
        self._pins = context.current.children.pins
        self._rules: dict[str, list[NameRule]] = {}
        self._lookups: dict[tuple[str, bool], NameLookup] = {}
        self._refused: dict[str, dict[bytes, str]] = {}  # name -> address -> why
        self._said: dict[str, str] = {}  # name -> what was told of it last
        self._timer: Timer | None = None
        self._is_looking = False
        self._hosts: dict[str, tuple[bytes, ...]] = {}  # what the host's own file said
        self._hosts_state: tuple[int, ...] = ()  # of the file, as it was read
        resolver.on_ready.append(self.look)

    def epoch_begun(self) -> None:
        self.look()

    def stopping(self) -> None:
        self._rules, self._lookups = {}, {}

    def look(self) -> None:
        """Ask for all names whose time it is."""
        if self._resolver.is_stopping:  # what is pinned stays for those who go on
            return
        if self._is_looking:  # what is asked may have an answer at once
            return
        self._is_looking = True
        self._take_rules()
        now = self._context.event_loop.now
        for (name, is_six), lookup in self._lookups.items():
            if not lookup.is_due(now):
                continue
            if not self._resolver.is_busy:
                self._begin(name, lookup, is_six=is_six)
            elif not self._resolver.is_attested and lookup.is_settled:
                lookup.fail("the resolver is away", now)  # which takes nothing away
        self._is_looking = False
        self._wait()

    def ask_again(self, name: str) -> None:
        """Ask for a name before its time, as none of its addresses may be right any more."""
        now = self._context.event_loop.now
        for is_six in (False, True):
            if (lookup := self._lookups.get((name, is_six))) is not None:
                lookup.hurry(now)
        self.look()

    def document(self) -> list[dict[str, Any]]:
        """Return what each name is now, for status."""
        pinned = self._pins.all()
        return [
            {
                "name": name,
                "addresses": sorted(str(ipaddress.ip_address(one)) for one in pinned.get(name, ())),
                "refused": {str(ipaddress.ip_address(one)): why for one, why in self._refused.get(name, {}).items()},
                "problem": self._problem(name),
            }
            for name in self._rules
        ]

    def _take_rules(self) -> None:
        config = self._context.current.config
        rules: dict[str, list[NameRule]] = {}
        for loop in config.loops:
            for rule in config.names_of(loop.name):
                rules.setdefault(rule.name, []).append(rule)
        for rule in config.own_names:
            rules.setdefault(rule.name, []).append(rule)
        changed = [name for name in rules if rules[name] != self._rules.get(name)]
        gone = self._rules.keys() - rules.keys()
        self._rules = rules
        before = self._lookups
        self._lookups = {key: before.get(key, NameLookup()) for name in rules for key in ((name, False), (name, True))}
        self._pins.forget(gone)
        for name in gone:
            self._said.pop(name, None)
            self._refused.pop(name, None)
        for name in changed:
            self._pin(name)

    def _wait(self) -> None:
        """Come again when the next name is to be asked for, or the next address ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [one.next_at for one in self._lookups.values() if not one.is_asking]
        if waiting and not self._resolver.is_stopping:
            delay_s = min(max(min(waiting) - self._context.event_loop.now, _LEAST_WAIT_S), _LONGEST_WAIT_S)
            self._timer = self._context.event_loop.call_later(delay_s, self._again)

    def _again(self) -> None:
        self._timer = None
        for name in self._rules:
            self._pin(name)  # an address may have ended
        self.look()

    # One question

    def _begin(self, name: str, lookup: NameLookup, *, is_six: bool) -> None:
        lookup.ask()
        size = 16 if is_six else 4
        known = self._known_hosts().get(name)
        if known is not None:
            self._ended(name, lookup, Outcome.FOUND, _HOSTS_TTL_S, [one for one in known if len(one) == size])
            return
        self._try(name, lookup, self._asking(), 0, is_six=is_six)

    def _known_hosts(self) -> dict[str, tuple[bytes, ...]]:
        """Return what the host's own file says, read anew when it is another one."""
        try:
            found = os.stat(HOSTS)
        except OSError:
            return {}
        state = found.st_mtime_ns, found.st_size, found.st_ino
        if state != self._hosts_state:
            self._hosts, self._hosts_state = parse_hosts(read_file(HOSTS)), state
        return self._hosts

    def _asking(self) -> Asking:
        servers = self._context.current.config.resolver.servers
        return Asking(servers) if servers else parse_resolv_conf(read_file(RESOLV_CONF))

    def _try(
        self, name: str, lookup: NameLookup, asking: Asking, turn: int, last: Outcome = Outcome.FAILED,
        *, is_six: bool, is_stream: bool = False,
    ) -> None:  # fmt: skip
        server = asking.turn(turn)
        if server is None or lookup is not self._lookups.get((name, is_six)):
            self._ended(name, lookup, last, 0, [])
            return
        heard = partial(self._heard, name, lookup, asking, turn, is_six, is_stream)
        self._resolver.ask(name, server, asking.wait_s, heard, is_six=is_six, is_stream=is_stream)

    def _heard(
        self, name: str, lookup: NameLookup, asking: Asking, turn: int, is_six: bool, is_stream: bool, outcome: Outcome,
        ttl_s: int, addresses: list[bytes],
    ) -> None:  # fmt: skip
        if outcome is Outcome.TRUNCATED and is_stream:  # or the same question could be asked without end
            outcome = Outcome.FAILED
        if outcome is Outcome.TRUNCATED:
            self._try(name, lookup, asking, turn, is_six=is_six, is_stream=True)
        elif outcome in _REASONS and self._resolver.is_attested:
            self._try(name, lookup, asking, turn + 1, outcome, is_six=is_six)
        else:
            self._ended(name, lookup, outcome, ttl_s, addresses)

    def _ended(
        self, name: str, lookup: NameLookup, outcome: Outcome, ttl_s: int, addresses: list[bytes]
    ) -> None:  # fmt: skip
        now = self._context.event_loop.now
        if outcome is Outcome.FOUND:
            lookup.found(addresses, ttl_s, now)
        elif outcome is Outcome.NO_SUCH_NAME:
            lookup.absent(now)
        else:
            lookup.fail(_REASONS.get(outcome, "no server could tell"), now)
        if name in self._rules:
            self._pin(name)
            self._tell(name)
        self.look()

    # What follows from it

    def _pin(self, name: str) -> None:
        """Judge what was heard of a name, and have it hold for all processes that have a rule with it."""
        now = self._context.event_loop.now
        heard = [one for is_six in (False, True) for one in self._lookups[name, is_six].addresses(now)]
        reasons = {one: refusal_of(one, self._rules[name], is_own=is_own_address(one)) for one in heard}
        self._refused[name] = {one: why for one, why in reasons.items() if why}
        allowed = frozenset(one for one, why in reasons.items() if not why)
        if allowed != self._pins.all().get(name, frozenset()):
            self._pins.set(name, allowed)
            self._write(name)

    def _write(self, name: str) -> None:
        children = self._context.current.children
        for process, profile in children.profiles.items():
            if any(rule.name == name for rule in profile.names):
                try:
                    write_name_files(profile, children.pins)
                except OSError as error:
                    self._context.console.warning(process, f"cannot write its hosts file: {error.strerror}")

    def _tell(self, name: str) -> None:
        """Tell the operator what a name has come to, once each time that it is another thing."""
        lookups = [self._lookups[name, is_six] for is_six in (False, True)]
        if not all(one.is_settled for one in lookups):
            return
        self._pins.settled.add(name)
        pinned = sorted(str(ipaddress.ip_address(one)) for one in self._pins.all().get(name, ()))
        problem = self._problem(name)
        said = problem or f"{name} is {', '.join(pinned)}"
        if said == self._said.get(name):
            return
        self._said[name] = said
        if problem:
            self._context.console.warning("resolver", problem)
        self._context.events.emit("name_unresolved" if problem else "name_resolved", "resolver", said)

    def _problem(self, name: str) -> str:
        """Return what is wrong with a name, in words; "" if all that was heard of it can be used."""
        if refused := self._refused.get(name):
            first = next(iter(refused))
            return f"{name} is said to be {ipaddress.ip_address(first)}, {refused[first]}"
        if self._pins.all().get(name):
            return ""
        reasons = [one.said for is_six in (False, True) if (one := self._lookups[name, is_six]).said]
        return f"{name} has no address: {reasons[0]}" if reasons else ""


def refusal_of(address: bytes, rules: Iterable[NameRule], *, is_own: bool) -> str:
    """Return why no rule lets its name have an address; "" if one does. Pure."""
    known = [*rules]
    if not any(rule.may_be(address) for rule in known):
        return "which is not public, and no rule lists it under `within`"
    if is_own and not all(rule.within for rule in known):
        return "which is this host, and not every rule with this name lists it under `within`"
    return ""
