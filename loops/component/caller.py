"""Who sent the request that a component serves now."""

from __future__ import annotations

import contextvars

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("tlsrt_caller", default="")


def begin_as(subject: str) -> contextvars.Token[str]:
    """Say who calls what `run_at_once` runs; give what this returns to `end_as` afterwards."""
    return CALLER.set(subject)


def end_as(token: contextvars.Token[str]) -> None:
    CALLER.reset(token)
