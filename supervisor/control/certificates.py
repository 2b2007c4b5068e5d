"""Certificates of a CA: when they are ordered, by whom, and what comes of it.

The authority makes keys and judges what is issued, the ACME process speaks with the CA, and the door shows challenges;
here is only the order of these steps, and time. One order runs at a time. What fails leaves the certificate before in
force and is tried again by itself.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tlsrt.channels.control.acme import Problem, Step
from tlsrt.config.acme import AcmeConfig
from tlsrt.config.server_certificate import NAMES_MAX, check_name
from tlsrt.errors import ConfigError
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.messages.acme_problems import sentence_of
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.supervision.acme_process import NAME, AcmeJob, AcmeProcess
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Answer, ControlVerb, Feature, Reply, Request
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers
from tlsrt.supervisor.supervision.renewal_times import RenewalTimes

LOOK_MOST_S, LOOK_LEAST_S = 60.0, 0.05  # wall time decides, and it may be set
ANSWER_S = 700.0
_BACKLOG = 32
_NO_CA = "no CA is configured: name one as acme.directory, seal, and reload"
_NO_NAMES = "there is nothing to order: `tlsrt-supervisor certificate add NAME`"
Done = Callable[[Answer], None]


class Certificates(Feature):
    """Orders, and what is in force."""

    def __init__(
        self, context: Context, authority: AuthorityProcess, requests: OperatorRequests, process: AcmeProcess,
        looks: Sequence[Callable[[], None]] = (), wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._context = context
        self._authority = authority
        self._requests = requests
        self._process = process
        self._looks = looks  # of who looks the CA's name up
        self._wall = wall
        self._times = RenewalTimes()
        self._added: tuple[str, ...] = ()
        self._trial = ""  # a name that is added once the CA has issued for it
        self._names: tuple[str, ...] = ()  # of the certificate in force
        self._issuer = self._identifier = ""
        self._is_known = False  # what the authority has
        self._is_ordering = False
        self._is_due = False  # an operator wants one now
        self._failure = ""
        self._timer: Timer | None = None
        self._is_stopping = False
        self._pending = PendingAnswers[None](context.event_loop)  # who waits for the order that runs
        context.events.listeners.append(self._told)

    @property
    def _config(self) -> AcmeConfig:
        return self._context.current.config.acme

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return the names that the certificate is to have: of the configuration, added ones, and one on trial."""
        on_trial = (self._trial,) if self._trial else ()
        return tuple(dict.fromkeys((*self._config.names, *self._added, *on_trial)))[:NAMES_MAX]

    @property
    def _is_right(self) -> bool:
        """Tell whether the certificate in force has the names that are wanted."""
        return set(self.wanted) == set(self._names)

    @property
    def ends(self) -> int:
        """Return when the certificate in force ends, in seconds since 1970; 0: there is none."""
        return self._times.ends if self._names else 0

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {
            "certificates": ControlVerb(lambda request, reply: reply({"acme": self.document()})),
            "certificate_order": ControlVerb(self._order_now),
            "certificate_name": ControlVerb(self._change_name),
        }

    def document(self) -> dict[str, Any] | None:
        """Return what status says; None where no CA is configured and nothing was issued."""
        if self._config.origin is None and not self._names:
            return None
        times = self._times
        return {
            "directory": self._config.directory, "wanted": list(self.wanted), "added": list(self._added),
            "names": list(self._names), "issuer": self._issuer, "begins": times.begins if self._names else 0,
            "ends": self.ends, "renews": round(times.renew_at) if self._names else 0,
            "state": "ordering" if self._is_ordering else "issued" if self._names else "none",
            "failure": self._failure, "failures": times.failures,
            "again": round(times.again_at) if times.failures else 0,
        }  # fmt: skip

    def warnings(self) -> list[str]:
        """Return sentences for status: what ends soon and could not be renewed."""
        if not self._failure or not (self._times.is_urgent(self._wall()) or not self._names):
            return []
        until = f"it ends on {_date(self.ends)}" if self._names else "there is none yet"
        return [f"the certificate of the CA could not be ordered, and {until}: {self._failure}"]

    # -- its life ---------------------------------------------------------------------------------------------

    def authority_booted(self) -> None:
        self._learn()

    def _told(self, event: HostEvent) -> None:
        """A reload may have named another CA or other names, and need not begin an epoch."""
        if event.name.name == "reloaded":
            for look in self._looks:
                look()
            self._learn()

    def authority_lost(self) -> None:
        self._is_known = False

    def stopping(self) -> None:
        self._is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self._pending.answer_all({"error": "stopping"})

    def _learn(self) -> None:
        """Ask the authority what it has."""
        self._ask(self._known, "certificate_state")

    def _known(self, code: int, rows: list[Any]) -> None:
        if code != ResultCode.DONE or not rows:
            return
        added, *present = rows
        self._added = tuple(str(name) for name in added)
        if not present:
            self._names = ()
        elif not self._names or self._times.ends != present[0][2]:
            self._have(present[0])
        self._is_known = True
        self._look()

    def _have(self, row: list[Any]) -> None:
        names, begins, ends, issuer, identifier = row
        self._names, self._issuer, self._identifier = tuple(names), str(issuer), str(identifier)
        self._times.have(begins, ends, self._context.chance(), self._wall())

    def _ask(self, heard: Callable[[int, list[Any]], None], name: str, *fields: object) -> None:
        """Ask the authority; `heard` gets code and rows, and REFUSED with a sentence if it is away."""

        def reply(answer: Answer) -> None:
            if "rows" in answer:
                heard(answer["code"], answer["rows"])
            else:
                heard(int(ResultCode.REFUSED), list(answer.get("unavailable", ["tlsrt is stopping"])))

        self._requests.ask(reply, lambda code, rows: {"code": code, "rows": rows}, name, *fields)

    # -- time -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Do what is due, and come again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_stopping or not self._is_known or self._is_ordering or self._process.is_busy:
            return  # the end of what runs looks again
        now, due = self._wall(), LOOK_MOST_S
        if self._config.origin is None:
            if self._names:
                self._names = ()
                self._ask(lambda code, rows: None, "certificate_forget")
        elif self._is_due:
            self._order()
            return
        elif self.wanted:
            order_at = self._times.order_at(now, is_right=self._is_right)
            if order_at <= now:
                self._order()
                return
            if self._identifier and self._times.ask_at <= now:
                self._inform()
                return
            due = min(order_at, self._times.ask_at if self._identifier else order_at) - now
        self._timer = self._context.event_loop.call_later(min(max(due, LOOK_LEAST_S), LOOK_MOST_S), self._look)

    def _inform(self) -> None:
        config, origin = self._config, self._config.origin
        assert origin is not None

        def ended(name: str, message: Any) -> None:
            if name == "window":
                self._times.hear(message.start, message.end, message.again_s, self._context.chance(), self._wall())
            else:
                self._times.unheard(self._wall())
            self._look()

        fields = (config.directory, self._identifier)
        self._process.begin(AcmeJob("inform", fields, origin, config.roots, lambda name, digest, done: None, ended))

    # -- an order ---------------------------------------------------------------------------------------------

    def _order(self) -> None:
        names, config = self.wanted, self._config
        self._is_ordering, self._is_due = True, False
        self._context.events.emit("certificate_ordered", NAME, ", ".join(names))
        self._ask(lambda code, rows: self._requested(names, config, code, rows), "certificate_request",
                  config.directory, list(names))  # fmt: skip

    def _requested(self, names: tuple[str, ...], config: AcmeConfig, code: int, rows: list[Any]) -> None:
        key, origin = self._authority.files.take_account_key(), config.origin
        if code != ResultCode.DONE or key < 0 or origin is None or self._is_stopping:
            if key >= 0:
                os.close(key)
            self._failed(str(rows[0]) if rows else "the authority made no key", 0)
            return
        try:
            listener = _listen(config.http_place)
        except OSError as error:
            os.close(key)
            self._failed(f"cannot listen on acme.http_listen {config.http_listen}: {error.strerror}", 0)
            return
        fields = (
            config.directory, list(names), config.contact, rows[0], self._identifier, int(listener >= 0)
        )  # fmt: skip
        unproved = ""  # why the door does not show a proof of this order

        def prove(name: int, digest: bytes, done: Callable[[bool], None]) -> None:
            def heard(code: int, rows: list[Any]) -> None:
                nonlocal unproved
                unproved = "" if code == ResultCode.DONE else str(rows[0]) if rows else ""
                done(code == ResultCode.DONE)

            self._ask(heard, "certificate_proof", names[name], digest)

        def ended(name: str, message: Any) -> None:
            self._answered(unproved, name, message)

        self._process.begin(AcmeJob("order", fields, origin, config.roots, prove, ended, key=key, listener=listener))

    def _answered(self, unproved: str, name: str, message: Any) -> None:
        if name == "issued":
            self._ask(self._judged, "certificate_chain", message.chain)
            return
        self._ask(lambda code, rows: None, "certificate_proof", "", b"")
        sentence = sentence_of(Step(message.step), Problem(message.problem), message.status)
        is_ours = message.problem == Problem.NOT_SET and unproved
        self._failed(f"{sentence}: {unproved}" if is_ours else sentence, message.again_s)

    def _judged(self, code: int, rows: list[Any]) -> None:
        if code != ResultCode.DONE:
            self._failed(f"the CA has sent a certificate that is not taken: {rows[0]}" if rows else "no certificate", 0)
            return
        self._have(rows[0])
        self._times.hold(self._wall())
        self._failure, self._is_ordering = "", False
        words = f"{', '.join(self._names)}, until {_date(self.ends)}"
        self._context.console.good(NAME, "issued", words)
        self._context.events.emit("certificate_issued", NAME, words)
        self._pending.answer_all({"acme": self.document()})
        self._look()

    def _failed(self, sentence: str, again_s: int) -> None:
        self._failure, self._is_ordering = sentence, False
        self._times.fail(again_s, self._context.chance(), self._wall())
        again = datetime.fromtimestamp(self._times.again_at, UTC)
        self._context.console.warning(NAME, f"{sentence}; again at {again:%H:%M:%S} UTC")
        self._context.events.emit("certificate_failed", NAME, sentence, failures=self._times.failures)
        self._pending.answer_all({"unavailable": [sentence]})
        self._look()

    # -- operators --------------------------------------------------------------------------------------------

    def _order_now(self, request: Request, reply: Reply) -> None:
        self._start_order(reply)

    def _start_order(self, reply: Reply) -> None:
        """Order now, whenever it would be due; `reply` hears how that went."""
        sentence = _NO_CA if self._config.origin is None else "" if self.wanted else _NO_NAMES
        if sentence:
            reply({"refused": [sentence]})
        elif self._is_stopping or not self._is_known:
            reply({"unavailable": ["the authority is not running now: try again in a moment"]})
        elif self._is_ordering or self._is_due:
            reply({"unavailable": ["an order runs already: `certificate show` says how it goes"]})
        else:
            self._pending.hold(reply, None, longest_s=ANSWER_S, late={"unavailable": ["the order takes too long"]})
            self._is_due = True
            self._look()  # now, or when the CA has said when to renew

    def _change_name(self, request: Request, reply: Reply) -> None:
        """Add or remove a name, and order. A name that the CA does not give, or has not yet, is not in the state."""
        is_added, given = request.get("is_added"), request.get("name")
        if type(is_added) is not bool or not isinstance(given, str):
            reply({"error": "bad_request"})
            return
        try:
            name = check_name(given)
        except ConfigError as error:
            reply({"refused": list(error.problems)})
            return
        sentence = self._refusal(name, is_added=is_added)
        if sentence:
            reply({"refused": [sentence]})
            return

        if not is_added:
            self._set_name(name, is_added=False, then=lambda: self._start_order(reply), reply=reply)
            return

        def ordered(answer: Answer) -> None:
            if "acme" in answer:
                self._set_name(name, is_added=True, then=lambda: reply({"acme": self.document()}), reply=reply)
                return
            self._trial = ""
            if self._is_right and self._times.renew_at > self._wall():  # there is nothing left to order
                self._failure = ""
                self._times.forgive()
            reply(answer)

        self._trial = name
        self._start_order(ordered)

    def _refusal(self, name: str, *, is_added: bool) -> str:
        if self._config.origin is None:
            return _NO_CA
        if is_added and name in self.wanted:
            return f"{name} is named already: `certificate renew` orders anew"
        if is_added and len(self.wanted) >= NAMES_MAX:
            return f"one certificate names {NAMES_MAX} hosts at most: remove another one"
        if not is_added and name in self._config.names:
            return f"{name} stands under acme.names of the configuration: remove it there, seal, and reload"
        if not is_added and self.wanted == (name,):
            return f"{name} is the only name: without any there is nothing to order"
        if self._is_ordering or self._is_due or self._trial:
            return "an order runs: try again when it is over"
        return ""

    def _set_name(self, name: str, *, is_added: bool, then: Callable[[], None], reply: Reply) -> None:
        def heard(code: int, rows: list[Any]) -> None:
            if self._trial == name:  # another one's may have begun meanwhile
                self._trial = ""
            if code == ResultCode.DONE:
                self._added = tuple(str(one) for one in rows[0])
                then()
            else:
                reply({"refused": [str(row) for row in rows]})

        self._ask(heard, "certificate_name", name, int(is_added))


def _listen(place: tuple[str, int] | None) -> int:
    """Return a socket for http-01, -1 if it is not asked for. Raises OSError."""
    if place is None:
        return -1
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(_BACKLOG)
        return made.detach()


def _date(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
