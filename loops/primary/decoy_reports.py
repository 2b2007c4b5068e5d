"""Primary's part in deception: it tells the authority of touched decoys, and lets itself be tried. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames.body import encode_request
from tlsrt.config.canaries import CanaryHashes
from tlsrt.errors import PeerError
from tlsrt.loops.gate.decoys import DecoyAccess
from tlsrt.loops.gate.gate import Gate
from tlsrt.loops.gate.state import Origin
from tlsrt.loops.runtime.component_host import ComponentHost

TELL_AFTER_S = 0.01  # so that the answer has left, and is no later for a decoy than for anything else
TRIAL_DEADLINE_MS = 5_000


class DecoyReports:
    """Between the gate and the trust channel; `send` is the channel's."""

    def __init__(self, gate: Gate, own: Origin, hosts: Mapping[str, ComponentHost], send: Callable[..., None]) -> None:
        self._gate = gate
        self._own = own
        self._hosts = hosts
        self._send = send
        gate.decoys.on_touch = self._touched

    def _touched(self) -> None:
        asyncio.get_running_loop().call_later(TELL_AFTER_S, self.tell)

    def tell(self) -> None:
        """Tell of the touches that wait; an authority that is busy or away is told with a later beat."""
        touches = self._gate.decoys.take()
        for at, touch in enumerate(touches):
            try:
                self._send("touched" if isinstance(touch, DecoyAccess) else "canary", *touch)
            except PeerError:
                self._gate.decoys.put_back(touches[at:])
                return

    def on_canaries(self, fields: list[Any], descriptors: list[int]) -> None:
        """Learn by which hashes canaries are known."""
        tokens, clients = ({hashed: number for number, hashed in enumerate(each)} for each in fields)
        self._gate.decoys.canaries = CanaryHashes(tokens, clients)

    def on_try(self, fields: list[Any], descriptors: list[int]) -> None:
        """Touch the decoy that the authority names, by a session of ours and through the gate, as others would."""
        target = fields[0]
        self._gate.decoys.try_with(target)
        for host in self._hosts.values():
            now = boottime_ms()
            body = encode_request((), {}, None)
            frame = host.endpoint.seal_probe(target, "describe", body, now + TRIAL_DEADLINE_MS)
            if frame and self._gate.check_untrusted(frame, self._own, now).reason == "not_allowed":
                return
