"""Alerts of components: an anomaly of the host that one of them saw, handed on to the authority, which counts it.

A process says a number only: which of its alerts. All words are those of its grant, which the operator has approved.
It can say no more than what it was granted, and not more often than this bound. While there is no authority alerts are
held, each as one with its sum, and the next one hears of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.control.life import ALERT_TIMES_MAX, ALERTS_AT_ONCE, ALERTS_PER_S, AlertMessage
from tlsrt.config.alerts import alerts_of
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Buckets
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, LoopHandler
from tlsrt.supervisor.supervision.loop import Loop


class Alerts(Feature):
    """Takes `alert` of all processes."""

    def __init__(self, context: Context, authority: AuthorityProcess) -> None:
        self._context = context
        self._authority = authority
        self._held: dict[tuple[str, str, str], int] = {}  # as many as are granted: how often
        self._rates = Buckets(2 * ALERTS_AT_ONCE, 2 * ALERTS_PER_S)  # an honest process never reaches it

    def loop_messages(self) -> Mapping[str, LoopHandler]:
        return {"alert": self._raised_untrusted}

    def _raised_untrusted(self, loop: Loop, message: AlertMessage) -> None:
        """Hand on an alert; raises PeerError for one that this process has not."""
        if loop.managed_by is not self._context.current.children:
            return  # it counts the grants of the configuration before
        granted = alerts_of(self._context.current.config.components_of(loop.name))
        if message.alert >= len(granted):
            raise PeerError("no_such_alert")
        if not 1 <= message.times <= ALERT_TIMES_MAX:
            raise PeerError("alert_out_of_range")
        if not self._rates.take(loop.name, self._context.event_loop.now):
            return
        component, alert = granted[message.alert]
        words = f"{alert.name}: {alert.why}"
        self._hand_on((component.address, alert.detector, words), message.times)

    def authority_booted(self) -> None:
        """Hand on what came while there was none."""
        held, self._held = self._held, {}
        for alert, times in held.items():
            self._hand_on(alert, times)

    def _hand_on(self, alert: tuple[str, str, str], times: int) -> None:
        component, detector, words = alert
        channel = self._authority.channel
        if not channel.is_booted or not channel.alert(component, detector, times, words):
            self._held[alert] = min(self._held.get(alert, 0) + times, ALERT_TIMES_MAX)
