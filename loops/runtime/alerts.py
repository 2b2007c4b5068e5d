"""Alerts of a process, as its life channel has them: numbers, and not too many of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tlsrt.channels.control.life import ALERT_TIMES_MAX, ALERTS_AT_ONCE, ALERTS_PER_S
from tlsrt.config.alerts import alerts_of
from tlsrt.config.schema import Config
from tlsrt.errors import MisuseError, PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.text import did_you_mean

Later = Callable[[float, Callable[[], None]], object]  # after so many seconds


def _call_later(seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)


class ProcessAlerts:
    """What the components of one process may report. `say` sends which one, and how often since it was last sent.

    What is over the rate is sent as soon as the rate allows, each alert in its turn: none is hidden by another.
    """

    def __init__(
        self, config: Config, process: str, say: Callable[[int, int], None],
        clock: Callable[[], float] = time.monotonic, later: Later = _call_later,
    ) -> None:  # fmt: skip
        self._say = say
        self._clock = clock
        self._later = later
        self._is_waiting = False
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
        self._untold[number] = min(self._untold.get(number, 0) + 1, ALERT_TIMES_MAX)
        self._tell()

    def _tell(self) -> None:
        while self._untold and self._rate.take(self._clock()):
            number = next(iter(self._untold))
            try:
                self._say(number, self._untold[number])
            except PeerError:  # a supervisor that does not read now
                break
            del self._untold[number]
        if self._untold and not self._is_waiting:
            self._is_waiting = True
            self._later(1 / ALERTS_PER_S, self._again)

    def _again(self) -> None:
        self._is_waiting = False
        self._tell()
