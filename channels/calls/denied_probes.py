"""Probes: requests without a right, sent all the same so that the gate knows of them.

A call without a right ends here, before anything is sealed, and no one would know who tried what: a thief of a client
bundle, or of a component, who explores with our own library. So the gate is shown the attempt, and refuses it as
ever. At most so many of one caller, each once: an honest caller needs none, and a mistake floods no gate.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.frames.body import encode_request
from tlsrt.channels.frames.frame import NAME_MAX
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.errors import CallError

PROBES_MAX = 8
DEADLINE_MS = 10_000


class DeniedProbes:
    """The probes of one caller."""

    def __init__(
        self, endpoint: Endpoint, send: Callable[[bytes], None], clock: Callable[[], int], is_up: Callable[[], bool]
    ) -> None:
        self._endpoint = endpoint
        self._send = send
        self._clock = clock
        self._is_up = is_up
        self._sent: set[tuple[str, str]] = set()

    def show(self, target: str, method: str) -> None:
        """Let the gate see that this was asked for. It never runs, and what is answered is dropped."""
        one = (target, method)
        if one in self._sent or len(self._sent) >= PROBES_MAX or max(map(len, one)) > NAME_MAX or not self._is_up():
            return
        frame = self._endpoint.seal_probe(target, method, encode_request((), {}, None), self._clock() + DEADLINE_MS)
        if not frame:
            return
        self._sent.add(one)
        try:
            self._send(frame)
        except CallError:
            return  # a full queue; the call is refused anyway
