"""What a person may do to this host from a console; each method is a right of its own.

It decides nothing: the runtime knows what this component may, and the authority whether who asks is there and may call
it. So a captured one can do what its grant names, for those who may ask for it, and is in the audit log before.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from tlsrt import Component, Denied, Length, Pattern, handler

Address = Annotated[str, Pattern(re.compile(r"[a-z][a-z0-9_]{0,30}/[a-z][a-z0-9_]{0,30}"), "LOOP/NAME")]
ClientName = Annotated[str, Pattern(re.compile(r"[a-z][a-z0-9_]{0,30}"), "the name of a client")]
Subject = Annotated[str, Length(64, 1)]


class Operate(Component):
    """What a person may do to this host; each method is a right of its own, and needs one of the runtime."""

    class Options:
        """There are none."""

    @handler(idempotent=True)
    async def targets(self) -> dict[str, Any]:
        """Say what this service may do: `restart` and `pause` list components; `lock`, `release`, `revoke`: whether.

        What a caller may do of that is said by policy.
        """
        named = {act: list(self.runtime.targets(act)) for act in ("restart", "pause")}
        whole = {act: bool(self.runtime.targets(act)) for act in ("lock", "release", "revoke")}
        return {**named, **whole}

    @handler
    async def restart(self, component: Address) -> None:
        """Restart the process of a component, and return when it is active: what runs in it restarts with it."""
        self._require("restart", component)
        await self.runtime.restart(component, asked_by=self.caller)
        self._tell("restart", component)

    @handler
    async def pause(self, component: Address) -> None:
        """Stop the process of a component until `resume`, the operator's `start`, or another start of the host."""
        self._require("pause", component)
        await self.runtime.pause(component, asked_by=self.caller)
        self._tell("pause", component)

    @handler
    async def resume(self, component: Address) -> None:
        """Start again what was stopped here; what the operator has stopped stays down."""
        self._require("resume", component)
        await self.runtime.resume(component, asked_by=self.caller)
        self._tell("resume", component)

    @handler
    async def lock(self) -> None:
        """Lock the host: all sessions end, also this one. Only an operator unlocks it, on the host or with a key."""
        self._require("lock")
        await self.runtime.lock(asked_by=self.caller)

    @handler
    async def release(self, subject: Subject) -> None:
        """End what attack response does about a subject: `client/NAME`, a component, a loop or an address."""
        self._require("release")
        await self.runtime.release(subject, asked_by=self.caller)
        self._tell("release", subject)

    @handler
    async def revoke(self, client: ClientName) -> None:
        """End an enrolled client for good: its sessions and its certificates. None ends itself, or an operator."""
        self._require("revoke")
        await self.runtime.revoke(f"client/{client}", asked_by=self.caller)
        self._tell("revoke", f"client/{client}")

    def _require(self, act: str, component: str = "") -> None:
        """Raise Denied for what this service may not do itself, with what the operator would change."""
        if component not in self.runtime.targets(act):
            words = f"{self.address} may not {act} {component}".rstrip()
            raise Denied(f"{words}: name it under `needs: runtime` in its drop-in, seal, and reload")

    def _tell(self, act: str, what: str) -> None:
        """Publish what was done, to those who may subscribe."""
        self.publish("acted", {"act": act, "what": what, "by": self.caller})
