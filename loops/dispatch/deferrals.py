"""What answers requests about jobs: the runtime of a process, or none."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from tlsrt.channels.frames.deferral import Deferral
from tlsrt.channels.frames.frame import Header
from tlsrt.errors import Unavailable


class Deferrals(Protocol):
    """Puts calls to a component off, lists and removes them."""

    def answer(self, header: Header, deferral: Deferral) -> Coroutine[Any, Any, object]:
        """Return what to await for the answer. Raises a CallError at once for what cannot be put off."""
        ...


class NoDeferrals:
    """Where there is no authority that keeps jobs."""

    def answer(self, header: Header, deferral: Deferral) -> Coroutine[Any, Any, object]:
        raise Unavailable(f"{header.dst} takes no jobs here")
