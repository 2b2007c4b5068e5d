"""What rules have an effect on: profile and paused components as they are wanted, and what is done once.

What is wanted is compared with what was done at each look, so what failed is tried again, and what a life before this
one has left is taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from tlsrt import CallError, MisuseError, Unavailable
from tlsrt.loops.forth.policy_rules import MACHINE, Action, Wanted

LONGEST_S = 20.0  # for one effect: what ends the machine does not wait longer for what comes before


class Daemons(Protocol):
    """What the bus does."""

    async def profile(self) -> str | None: ...
    async def set_profile(self, name: str) -> None: ...
    async def end_machine(self, action: str) -> None: ...


class Host(Protocol):
    """What the runtime does; a component's `runtime`."""

    async def pause(self, component: str) -> None: ...
    async def resume(self, component: str) -> None: ...
    async def states(self) -> dict[str, str]: ...
    async def shutdown(self) -> None: ...


Told = Callable[[str, str], None]  # an action, and how it ended: "done" or why not


class Effects:
    """The effects of one policy. `notify` gets the name of a rule."""

    def __init__(
        self, bus: Daemons | None, host: Host, set_value: Callable[[str, int], Awaitable[None]],
        notify: Callable[[str], None], usual: str, pausable: frozenset[str],
    ) -> None:  # fmt: skip
        self._bus = bus
        self._host = host
        self._set = set_value
        self._notify = notify
        self._usual = usual
        self._pausable = pausable
        self._is_known = False  # what the life before has left
        self._failing: dict[str, str] = {}  # told once, not at each look
        self.profile: str | None = None  # that a rule has put in force
        self.paused: set[str] = set()

    async def reach(self, wanted: Wanted, told: Told) -> None:
        """Bring about what is wanted. What fails is told once, and tried again at the next look."""
        if not self._is_known:
            self._is_known = await self._look_around()
        for component in sorted(self.paused - wanted.paused):
            if await self._try(f"resume {component}", self._host.resume(component), told):
                self.paused.discard(component)
        for component in sorted(wanted.paused - self.paused):
            if await self._try(f"pause {component}", self._host.pause(component), told):
                self.paused.add(component)
        if wanted.profile != self.profile:
            name = wanted.profile or self._usual
            if await self._try(f"profile {name}", self._with_bus("set_profile", name), told):
                self.profile = wanted.profile

    async def do_once(self, rule: str, action: Action, told: Told) -> None:
        """Do what is done once."""
        await self._try(str(action), self._once(rule, action), told)

    async def _look_around(self) -> bool:
        """Learn what an earlier life has paused. Tell whether that is known."""
        try:
            states = await self._host.states()
        except MisuseError:  # not granted: what was paused stays with the operator
            return True
        except CallError:
            return False
        self.paused = {name for name, state in states.items() if state == "paused" and name in self._pausable}
        return True

    async def _once(self, rule: str, action: Action) -> None:
        if action.verb == "notify":
            self._notify(rule)
        elif action.verb == "set":
            await self._set(action.what, action.value)
        elif action.verb == "shutdown":
            await self._host.shutdown()
        elif action.verb in MACHINE:
            await self._with_bus("end_machine", action.verb)

    async def _with_bus(self, method: str, word: str) -> None:
        if self._bus is None:
            raise Unavailable("no bus is used: set the option `dbus`")
        await getattr(self._bus, method)(word)

    async def _try(self, words: str, effect: Awaitable[None], told: Told) -> bool:
        try:
            async with asyncio.timeout(LONGEST_S):
                await effect
        except (CallError, MisuseError) as error:
            problem = str(error) or type(error).__name__
        except TimeoutError:
            problem = f"it took more than {LONGEST_S:g} s"
        else:
            self._failing.pop(words, None)
            told(words, "done")
            return True
        if self._failing.get(words) != problem:
            self._failing[words] = problem
            told(words, problem)
        return False
