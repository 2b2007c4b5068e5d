"""Reports of accessed decoys to the authority, and its trials of them. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.trust import CanariesMessage, TryDecoyMessage
from tlsrt.channels.frames.body import encode_request
from tlsrt.config.canaries import CanaryHashes
from tlsrt.errors import PeerError
from tlsrt.loops.gate.decoys import DecoyAccess, Decoys
from tlsrt.loops.gate.refusals import Reports
from tlsrt.loops.primary.router import Router
from tlsrt.loops.runtime.component_host import ComponentHost

REPORT_AFTER_S = 0.01  # so that the answer has left, and is no later for a decoy than for anything else
TRIAL_DEADLINE_MS = 5_000


class DecoyReports:
    """Between the decoys and the trust channel."""

    def __init__(self, decoys: Decoys, router: Router, hosts: Mapping[str, ComponentHost], trust: Reports) -> None:
        self.decoys = decoys
        self._router = router
        self._hosts = hosts
        self._trust = trust
        decoys.set_listener(self)

    def on_access(self) -> None:
        """Report soon."""
        asyncio.get_running_loop().call_later(REPORT_AFTER_S, self.report)

    def report(self, send: Callable[..., None] | None = None) -> None:
        """Report the accesses that wait. An authority that is busy or restarting gets them with a later heartbeat.

        `send` replaces the channel where a report has its place among other messages.
        """
        send = send or self._trust.send
        accesses = self.decoys.take()
        for at, access in enumerate(accesses):
            try:
                send("decoy_accessed" if isinstance(access, DecoyAccess) else "canary", *access)
            except PeerError:
                self.decoys.put_back(accesses[at:])
                return

    def on_canaries(self, message: CanariesMessage) -> None:
        """Learn by which hashes canaries are known."""
        tokens, keys = ({hashed: number for number, hashed in enumerate(each)} for each in message)
        self.decoys.set_canaries(CanaryHashes(tokens, keys))

    def on_try(self, message: TryDecoyMessage) -> None:
        """Access the decoy that the authority names, by a session of ours and through the gate, as others would."""
        self.decoys.try_name(message.nonce)
        for host in self._hosts.values():
            body = encode_request((), {}, None)
            frame = host.endpoint.seal_probe(message.nonce, "describe", body, boottime_ms() + TRIAL_DEADLINE_MS)
            if frame and self._router.try_own(frame) == "not_allowed":
                return
