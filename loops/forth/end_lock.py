"""A delay inhibitor of logind: it holds back the machine's sleep and end until its descriptor is closed.

    https://systemd.io/INHIBITOR_LOCKS/, and org.freedesktop.login1(5)

The lock is the descriptor. logind waits for InhibitDelayMaxUSec and no longer. Any user of the machine may send a
signal that looks as logind's, so none is believed: logind itself is asked what it prepares.
"""

from __future__ import annotations

import asyncio
import os

from tlsrt.bus import Bus, Message

LOGIND, PATH, MANAGER = "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
_SIGNALS = ("PrepareForShutdown", "PrepareForSleep")
_MOST_S = 3600.0


class EndLock:
    """One lock. `changed` is set when logind may prepare something else than before."""

    def __init__(self, address: str) -> None:
        self.changed = asyncio.Event()
        self._bus = Bus(self._joined, self._heard, address=address, descriptors=True)
        self._logind = self._bus.peer(LOGIND)
        self.keep = self._bus.keep
        self._descriptor: int | None = None
        self.delay_s: float | None = None  # how long logind waits; None: it has not said

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    @property
    def problem(self) -> str:
        """Why there is no bus; "" if there is one."""
        return "" if self._bus.is_there else self._bus.problem

    async def _joined(self) -> None:
        for member in _SIGNALS:
            await self._logind.match(f"path='{PATH}',interface='{MANAGER}',member='{member}'")
        said = await self._logind.properties(PATH, MANAGER)
        self.delay_s = delay_untrusted(said.get("InhibitDelayMaxUSec"))
        await self.take()
        self.changed.set()

    async def prepares(self) -> str | None:
        """Ask logind: "shutdown", "sleep", or None. Raises as `BusPeer.call` does."""
        said = await self._logind.properties(PATH, MANAGER)
        return next((one.lower() for one in ("Shutdown", "Sleep") if said.get(f"PreparingFor{one}") is True), None)

    async def take(self) -> None:
        """Take the lock, in the place of one that is held. Raises as `BusPeer.call` does."""
        reason = "it stops its processes in order"
        taken = await self._logind.take(PATH, MANAGER, "Inhibit", "ssss", "shutdown:sleep", "tlsrt", reason, "delay")
        self.release()
        self._descriptor = taken

    def release(self) -> None:
        """Let the machine go on."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _heard(self, message: Message) -> None:
        if message.member in _SIGNALS:
            self.changed.set()


def delay_untrusted(said: object) -> float | None:
    """Return a number of microseconds in seconds; None for what is none. Cannot fail."""
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said <= _MOST_S * 1e6:
        return None
    return said / 1e6
