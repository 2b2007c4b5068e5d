"""What answers requests about jobs: the runtime of a process, or none."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from tlsrt.channels.frames.deferral import Deferral
from tlsrt.channels.frames.frame import Header
from tlsrt.errors import InvalidArgument, Unavailable


class Deferrals(Protocol):
    """Puts calls to a component off, lists and removes them."""

    def answer(self, header: Header, deferral: Deferral) -> Coroutine[Any, Any, object]:
        """Return what to await for the answer. Raises a CallError at once for what cannot be put off."""
        ...


class NoDeferrals:
    """Where there is no authority that keeps jobs."""

    def answer(self, header: Header, deferral: Deferral) -> Coroutine[Any, Any, object]:
        raise Unavailable(f"{header.dst} takes no jobs here")


def wrong_kind(method: str, *, is_stream: bool, is_put_off: bool) -> InvalidArgument:
    """Return the refusal of a stream that was called, or of a call that was iterated."""
    if is_put_off:
        return InvalidArgument(
            f"cannot put {method} off: it is a stream, and its caller would not be there for the items"
        )
    return InvalidArgument(
        f"{method} is a stream of items: iterate it" if is_stream else f"{method} is not a stream: call it"
    )
