"""The supervisor's side of the helper: what it is asked, one request after another.

The helper is there as long as a component needs it. It does one request after another, each with a deadline: a helper
that a driver holds up is killed, and only what was asked is lost. Who asks is told which request held it up, as to ask
for it again would do the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tlsrt.channels.control.helper import HELPER
from tlsrt.config.schema import Config
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.service_process import ServiceProcess

NAME = "helper"
NETWORK_NAME = "network_helper"
REQUEST_S = 10.0  # for a driver to open a device; what takes longer is given up, and the helper with it
LEFT_MAX = 64  # devices that wait for a helper to close them
WAITING_MAX = 64  # requests that it has not answered
ERRNO_MAX = 4095  # the kernel's own bound
# In the place of an errno:
AWAY = -1  # there is no helper now, or it has too much to do: nothing was sent
GONE = -2  # it was sent, and the helper ended before it answered: it may have been done
HUNG = -3  # the same, and this is what the helper did not come back from

Done = Callable[[int, int], None]  # an errno, 0, AWAY, GONE or HUNG; and a device, which is the callee's, or -1


class HelperProcess(ServiceProcess):
    """The one helper, over all its incarnations."""

    def __init__(self, context: Context, name: str = NAME) -> None:
        super().__init__(context, name, HELPER)
        self._requests: dict[
            int, tuple[str, Done]
        ] = {}  # what was asked, and who asked; the one that it does now first
        self._late: Timer | None = None  # for that one
        self._number = 0
        self._left: list[int] = []  # devices that the next helper closes
        self.on_ready.append(self._put_all_away)

    def is_needed(self, config: Config) -> bool:
        return config.needs_helper

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_helper(start)

    def lost(self) -> None:
        self._fail_all(GONE)

    def _fail_all(self, first: int) -> None:
        """Tell who asked that no answer comes; `first` is for what the helper did when it ended."""
        if self._late is not None:
            self._late.cancel()
        requests, self._requests = self._requests, {}
        for place, (_, done) in enumerate(requests.values()):
            done(GONE if place else first, -1)

    def _hung(self) -> None:
        """End a helper that a driver holds up."""
        self._is_sealed = False  # so that who is told does not ask this one again
        self._fail_all(HUNG)
        self.kill(f"did not answer in {REQUEST_S:g} s: a driver holds it", Cause.DEADLINE)

    def _time_next(self) -> None:
        """Begin the deadline of the request that is the first now."""
        if self._late is not None:
            self._late.cancel()
        self._late = self._context.event_loop.call_later(REQUEST_S, self._hung) if self._requests else None

    # What it is asked

    def write(self, place: int, value: int, done: Done) -> None:
        """Have a number written to the setting behind a descriptor (O_PATH), which stays the caller's."""
        self._ask("write", done, place, value)

    def open(self, place: int, fields: tuple[int, ...], done: Done) -> None:
        """Have the device behind a descriptor (O_PATH) opened; `fields` are those of OpenMessage."""
        self._ask("open", done, place, *fields)

    def change(self, name: str, kernel: int, fields: tuple[int | str, ...], done: Done) -> None:
        """Have something changed over a socket of the kernel; `fields` are those of `name` behind the number."""
        self._ask(name, done, kernel, *fields)

    def put_away(self, device: int) -> None:
        """Have a device closed, which is ours from here on: its last close may wait for its driver, and we must not."""
        self._left.append(device)
        self._put_all_away()

    def _put_all_away(self) -> None:
        while self._left and (self.is_attested or len(self._left) > LEFT_MAX):
            if not self.hand("close", descriptors=(self._left[-1],)) and len(self._left) <= LEFT_MAX:
                return  # the next helper gets it
            with suppress(OSError):  # a driver may refuse what is left to do, and it is closed all the same
                os.close(self._left.pop())  # what is under way keeps it open, so this is not its last close

    def hand(self, name: str, *fields: int | bytes, descriptors: tuple[int, ...]) -> bool:
        """Hand over descriptors that it keeps, and say if they were sent; they stay the caller's too."""
        if self._channel is None or not self.is_attested:
            return False
        try:
            self._channel.send(name, *fields, descriptors=descriptors)
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")
            return False
        return True

    def _ask(self, name: str, done: Done, place: int, *fields: int | str) -> None:
        if self._channel is None or not self.is_attested or len(self._requests) >= WAITING_MAX:
            done(AWAY, -1)
            return
        self._number += 1
        try:
            self._channel.send(name, self._number, *fields, descriptors=(place,))
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")
            done(AWAY, -1)
            return
        self._requests[self._number] = name, done
        if len(self._requests) == 1:
            self._time_next()

    def take(self, name: str, message: Any, descriptors: list[int]) -> None:
        asked, done = self._requests.get(message.number, ("", None))
        is_open, error = name == "opened", 0 if name == "opened" else message.error
        is_fit = asked == "open" if is_open else 0 <= error <= ERRNO_MAX and (error > 0 or asked != "open")
        if done is None or not is_fit:
            self._left += descriptors  # for the next helper: this one is ended
            raise PeerError("unasked")
        del self._requests[message.number]
        self._time_next()
        done(error, descriptors[0] if is_open else -1)


class NetworkHelperProcess(HelperProcess):
    """The helper with CAP_NET_ADMIN: there while a grant asks for it, and as long as something is to be undone."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, NETWORK_NAME)
        self._held = 0
        self._is_to_stop = False

    def is_needed(self, config: Config) -> bool:
        return config.needs_network_helper or (self._held > 0 and self.child is not None)

    def _spawn(self) -> None:
        self._next = None
        if self.is_needed(self._context.current.config):  # one that has ended comes for nothing that was only held
            super()._spawn()

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_helper(replace(start, name=NETWORK_NAME))

    def hold(self) -> None:
        """Have it stay for something that is to be undone."""
        self._held += 1

    def release(self) -> None:
        """Let it end, if nothing else needs it."""
        self._held -= 1
        if self._held == 0 and self._is_to_stop:
            super().stopping()
        elif self._held == 0 and self.is_wanted:
            self.look()

    def stopping(self) -> None:
        self._is_to_stop = True
        if self._held == 0:
            super().stopping()
