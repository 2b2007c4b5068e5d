"""Alerts of a process, as its life channel has them: numbers, and not too many of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from tlsrt.channels.control.life import ALERT_TIMES_MAX, ALERTS_AT_ONCE, ALERTS_PER_S
from tlsrt.config.alerts import alerts_of
from tlsrt.config.schema import Config
from tlsrt.errors import MisuseError, PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.text import did_you_mean


class ProcessAlerts:
    """What the components of one process may report. `say` sends which one, and how often since it was last sent."""

    def __init__(
        self, config: Config, process: str, say: Callable[[int, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._rate = Bucket(ALERTS_AT_ONCE, ALERTS_PER_S)
        granted = alerts_of(config.components_of(process))
        self._numbers = {(one.address, alert.name): number for number, (one, alert) in enumerate(granted)}
        self._untold: dict[int, int] = {}  # by number

    def report(self, address: str, name: str) -> None:
        """Report an anomaly. Raises MisuseError for one that this component may not."""
        number = self._numbers.get((address, name))
        if number is None:
            hint = did_you_mean(name, [known for owner, known in self._numbers if owner == address])
            raise MisuseError(f"{address} has no alert {name!r}{hint}: name it under `needs: alerts`")
        times = self._untold[number] = min(self._untold.get(number, 0) + 1, ALERT_TIMES_MAX)
        if self._rate.take(self._clock()):
            try:
                self._say(number, times)
            except PeerError:  # a supervisor that does not read now: it is told with the next one
                return
            del self._untold[number]
