"""The port of a component: its way out, which the runtime gives it. An interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Protocol


class Port(Protocol):
    """The way out of a component: the runtime's channel to the gate. Raises CallErrors."""

    def call(
        self,
        target: str,
        method: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        timeout_s: float,
        idempotency_key: str | None,
        wait_s: float | None = None,
    ) -> Coroutine[Any, Any, Any]: ...

    def stream(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float
    ) -> AsyncIterator[Any]: ...

    def upload(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> Coroutine[Any, Any, Any]: ...  # fmt: skip

    def exchange(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> AsyncIterator[Any]: ...  # fmt: skip

    def fail(self, sentence: str) -> None:
        """End the process: the component cannot go on."""
        ...
