"""Work: what a component gives to a thread, so that its event loop goes on. An interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tlsrt.errors import MisuseError


class WorkCount(NamedTuple):
    """What the threads of a process have to do."""

    running: int
    waiting: int
    given_up: int  # of those that run: no one waits for their result any more


class Work(Protocol):
    """Runs functions in threads."""

    async def run(
        self, subject: str, function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object],
        timeout_s: float | None,
    ) -> Any: ...  # fmt: skip


def no_threads(address: str) -> str:
    """Return the sentence for a component that wants a thread and did not ask for any."""
    return f"cannot start a thread: put `threads: N` under needs of {address}"


class NoWork:
    """What a component has that asked for no threads."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def run(
        self, subject: str, function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object],
        timeout_s: float | None,
    ) -> Any:  # fmt: skip
        raise MisuseError(no_threads(self._address))
