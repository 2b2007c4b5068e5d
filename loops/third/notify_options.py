"""Options of notify: carriers, who gets what, and how much there may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tlsrt import Length, Range
from tlsrt.loops.third.mail_carrier import MailOptions
from tlsrt.loops.third.notice_rules import CARRIER_NAME, CONSOLE, RULES, Escalation, Quiet, Route
from tlsrt.loops.third.webhook_carrier import WebhookOptions

DESKTOP = "desktop"
CARRIERS = 16
KINDS = ("lifecycle", "session", "security", "health", "program")  # of events of the host


@dataclass(frozen=True, kw_only=True)
class DesktopOptions:
    """The session bus of a person."""

    bus: Annotated[str, Length(108, 2), "The path of its socket; `needs: buses` must list it."]
    timeout_s: Annotated[float, Range(1, 60), "For one message, seconds."] = 10.0

    def __post_init__(self) -> None:
        if not self.bus.startswith("/"):
            raise ValueError("bus: write the path of its socket, such as /run/user/1000/bus")


@dataclass(frozen=True, kw_only=True)
class NotifyOptions:
    """Options: carriers, and who gets what."""

    mail: Annotated[dict[str, MailOptions], Length(CARRIERS), "Carriers that send mail, by name."] = field(
        default_factory=dict
    )
    webhooks: Annotated[dict[str, WebhookOptions], Length(CARRIERS), "Carriers that post JSON, by name."] = field(
        default_factory=dict
    )
    desktop: Annotated[DesktopOptions | None, "The session bus of the carrier `desktop`."] = None
    routes: Annotated[tuple[Route, ...], Length(RULES), "Which carriers get what; the console gets all."] = ()
    escalations: Annotated[tuple[Escalation, ...], Length(RULES), "What follows without acknowledgement."] = ()
    quiet: Annotated[Quiet | None, "A time of each day at which carriers wait."] = None
    readers: Annotated[tuple[str, ...], Length(64), "Who reads and acknowledges those of all senders."] = ("client/*",)
    burst: Annotated[int, Range(1, 1000), "Notifications of one sender that may come at once."] = 10
    per_minute: Annotated[float, Range(0.1, 6000), "How many of one sender may come; more are told as a sum."] = 10
    sum_s: Annotated[float, Range(1, 3600), "The time that one sum is of, seconds."] = 60.0
    keep: Annotated[int, Range(4, 100_000), "Notifications that are kept; a sender has half at most."] = 2000
    waiting: Annotated[int, Range(16, 100_000), "Deliveries that may wait; a sender has a quarter at most."] = 2000
    give_up_s: Annotated[float, Range(1, 31 * 86_400), "After how long a delivery is given up, seconds."] = 86_400.0
    alerts: Annotated[bool, "Alerts of components and of the host become notifications."] = True
    host_events: Annotated[dict[str, Literal["info", "warning", "alarm"]], "More of primary/events."] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.host_events) - set(KINDS)):
            raise ValueError(f"host_events: {unknown[0]!r} is no kind of event: there are {', '.join(KINDS)}")
        names = [*self.mail, *self.webhooks, *([DESKTOP] if self.desktop else [])]
        for name in (*self.mail, *self.webhooks):
            if not CARRIER_NAME.fullmatch(name) or name in (CONSOLE, DESKTOP):
                raise ValueError(f"{name!r} is no name of a carrier: write a-z, 0-9, _ and -, and no {CONSOLE}")
        if len(set(names)) < len(names) or len(names) > CARRIERS:
            raise ValueError(f"carriers: at most {CARRIERS}, each with a name of its own")
        rules: tuple[Route | Escalation, ...] = (*self.routes, *self.escalations)
        wanted = {to for rule in rules for to in rule.to}
        wanted |= set(self.quiet.to) if self.quiet else set()
        if lost := sorted(wanted - {CONSOLE, *names}):
            raise ValueError(f"no carrier is called {lost[0]!r}: there are {', '.join([CONSOLE, *names])}")
