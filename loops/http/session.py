"""The session of an HTTP client, which Primary holds for it: such a client cannot seal. asyncio.

The authority delegates it to a connection: what another client gets sealed to a key of its own, Primary gets in the
clear. From then on calls are made as every client makes them, and pass the gate as theirs. A captured Primary can act
as such a client at any time; that is why clients have to be enrolled for it one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.grant import GrantContent
from tlsrt.errors import CallError, Denied, Failed, PeerError, Unavailable, call_error, quarantined_untrusted
from tlsrt.loops.http.openapi import is_sound

REFUSED = "this client may not use HTTP: it is unknown, revoked, or was not enrolled with http: true"
_WORDS = {
    "rejected": ("denied", REFUSED),
    "locked": ("locked", "the host is locked"),
    "busy": ("busy", "no time or room for another session of this client now: ask again, over few connections"),
}


class FrameCarrier(Protocol):
    """The connection of such a session."""

    def send_frame(self, frame: bytes) -> None:
        """Send a frame to the gate."""

    def on_refused_frame(self, reason: str) -> None:
        """A frame from the gate was no authentic answer."""


class DelegatedSession:
    """Keys, calls and descriptions of one client on one connection."""

    def __init__(self, carrier: FrameCarrier) -> None:
        self._endpoint = Endpoint("")
        self._carrier = carrier
        self.caller = Caller(self._endpoint, carrier.send_frame, boottime_ms)
        self.caller.set_up(False)
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ready.add_done_callback(_retrieve)
        self._descriptions: dict[str, Mapping[str, Any]] = {}
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def is_granted(self) -> bool:
        return bool(self._endpoint.subject)

    @property
    def subject(self) -> str:
        return self._endpoint.subject

    @property
    def rights(self) -> dict[str, tuple[str, ...]]:
        """What may be called: target -> methods, `*` for all."""
        return self._endpoint.rights

    def delegate(self, content: GrantContent) -> None:
        """Take the first grant, or a later one."""
        now = boottime_ms()
        self._endpoint.apply_grant(content, now)
        if content.grace_ms == 0:
            self._endpoint.retire(now)
            self.caller.pending.end_before(content.epoch)
        self._descriptions.clear()  # a recipient may be another one now
        for timer in self._timers:
            timer.cancel()
        self._timers = [self._loop.call_later(content.grace_ms / 1000 + 0.1, self._retire)]
        self.caller.set_up(True)
        if not self._ready.done():
            self._ready.set_result(None)

    def refuse(self, word: str) -> None:
        """End the wait for a session: there is none for this client."""
        if not self._ready.done():
            error: CallError = Unavailable("no session can be had now")
            if word in _WORDS:
                error = call_error(*_WORDS[word])
            error = quarantined_untrusted(word) or error
            self._ready.set_exception(error)

    def end(self) -> None:
        """End the calls in flight: the connection is closed."""
        for timer in self._timers:
            timer.cancel()
        self.refuse("ended")
        self.caller.set_up(False)
        self.caller.pending.fail_all(None, ())

    async def ready(self) -> None:
        """Wait for the session; raises Denied or Unavailable."""
        await asyncio.shield(self._ready)

    def take_untrusted(self, frame: bytes) -> None:
        """Take a frame that the gate passed on to this connection."""
        try:
            self.caller.pending.on_frame_untrusted(frame)
        except PeerError as error:
            self._carrier.on_refused_frame(error.reason)

    async def describe(self, target: str) -> Mapping[str, Any]:
        """Return what this client may call of a target, asked for once; raises a CallError."""
        methods = self.rights.get(target)
        if methods is None:
            self.caller.probes.show(target, "describe")
            raise Denied(f"no policy line lets this client call {target}")
        if target not in self._descriptions:
            answer = await self.caller.call(target, "describe")
            if not is_sound(answer):
                raise Failed(f"{target} describes itself in a way that cannot be read")
            if "*" not in methods:
                answer["methods"] = {name: one for name, one in answer["methods"].items() if name in methods}
                if "subscribe" not in methods:
                    answer.pop("topics", None)
            self._descriptions[target] = answer
        return self._descriptions[target]

    def _retire(self) -> None:
        self._endpoint.retire(boottime_ms())


def _retrieve(future: asyncio.Future[None]) -> None:
    """Take note of a refusal that no request has waited for; that is no error of ours."""
    if not future.cancelled():
        future.exception()
