"""The witness of the secrets service: a count of changes kept in another place, which tells when an older copy is back.

A database that was put back as a whole looks as it did then. So the revision of the last change is kept in the store as
well, under a seal of the root: another process, with another file. It follows a change within about a second, and never
goes back. It helps against who puts back this service's files, and not against who puts back all of the host's state.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from tlsrt import CallError, Denied, InvalidArgument, NotFound
from tlsrt.loops.secondary.sealing import BrokenSeal, Root

STORE = "secondary/store"
KEY = "revision"
_PAUSE_S = 5.0


class WitnessStore(Protocol):
    """What this needs of the store."""

    async def get(self, key: str, *, namespace: str) -> Any: ...

    async def put(self, key: str, value: Any, *, namespace: str) -> dict[str, int]: ...


class SecretWitness:
    """What was witnessed, and what is to be. The clock is monotonic."""

    def __init__(
        self, root: bytes, address: str, store: WitnessStore, log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._root = Root(root)
        self._namespace = address
        self._store = store
        self._log = log
        self._clock = clock
        self._is_blind = False  # the store gives us no place
        self._not_before = 0.0
        self.trouble = ""  # it cannot be kept now
        self.rolled_back = ""  # an older copy was put back
        self.is_read = False
        self._witnessed = 0
        self._revision = 0

    def note(self, revision: int) -> None:
        """Take down a change that is on the disk."""
        self._revision = max(self._revision, revision)

    @property
    def is_due(self) -> bool:
        """Tell whether there is something to keep; nothing is, before it was read."""
        return self.is_read and self._revision > self._witnessed

    def until_look_s(self) -> float:
        """Return in how many seconds `look` has something to do."""
        has_work = not self.is_read or (self.is_due and not self.rolled_back)
        return max(0.0, self._not_before - self._clock()) if has_work and not self._is_blind else math.inf

    def value(self) -> dict[str, Any]:
        """Return what is to be kept."""
        return {"revision": self._revision, "seal": self._root.seal(b"witness", self._revision)}

    def kept(self, value: dict[str, Any]) -> None:
        """It is on the other disk."""
        self._witnessed = max(self._witnessed, int(value["revision"]))

    def read_untrusted(self, value: object, revision: int) -> str:
        """Compare what was kept with the revision that is there; return what is wrong, "" for nothing. Cannot fail."""
        self.is_read = True
        self.note(revision)
        if value is None:
            return ""
        try:
            witnessed, seal = value["revision"], value["seal"]  # type: ignore[index]
            if type(witnessed) is not int or type(seal) is not bytes or witnessed < 0:
                raise BrokenSeal
            self._root.check(seal, b"witness", witnessed)
        except (BrokenSeal, KeyError, TypeError, IndexError, OverflowError):
            return (
                f"the count of changes in {STORE} is not of this root: whether secrets are older than they were is not "
                "known; call `accept` to begin a new one"
            )
        self._witnessed = witnessed
        if witnessed <= revision:
            return ""
        return (
            f"the secrets are those of change {revision}, and there were {witnessed}: an older copy was put back; "
            "restore a newer one, or call `accept` to go on with it, and rotate what has changed since"
        )

    async def look(self, revision: Callable[[], Awaitable[int]]) -> bool:
        """Read the count once, and keep it from then on; return True if it has just found an older copy."""
        if self._is_blind or self._clock() < self._not_before:
            return False
        try:
            if not self.is_read:
                self.rolled_back = self.read_untrusted(await self._kept_there(), await revision())
                if self.rolled_back:
                    return True
            if self.is_due and not self.rolled_back:
                value = self.value()
                await self._store.put(KEY, value, namespace=self._namespace)
                self.kept(value)
            self.trouble = ""
        except (Denied, InvalidArgument) as error:
            self._is_blind = True  # to ask again would be taken for an attack
            self._log.warning(
                "no count of changes is kept in %s (%s): an older copy would not be noticed", STORE, error.message
            )
        except CallError as error:
            self._not_before = self._clock() + _PAUSE_S
            self.trouble = f"the count of changes cannot be kept in {STORE} now ({error.message})"
        return False

    async def _kept_there(self) -> object:
        try:
            found: object = await self._store.get(KEY, namespace=self._namespace)
        except NotFound:
            return None
        return found

    def accept(self) -> int:
        """Begin a new count, behind what was witnessed; return the revision that is used up."""
        self._revision = max(self._revision, self._witnessed)
        self._witnessed = -1
        self.rolled_back = ""
        return self._revision
