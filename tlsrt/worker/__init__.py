"""The worker side: functions that a component has run in a process without key, network or files of the host.

from tlsrt.worker import worker

model = load(...)

@worker
def transcribe(sound: bytes, language: str = "en") -> str:
    ...

@worker
def words(sound: bytes) -> Iterator[str]:
    ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

MARK = "__tlsrt_worker__"


def worker(function: Function) -> Function:
    """Have a component call this function: a plain one, or a generator for a stream of items.

    Types are those of handlers; a last parameter of type `Iterator[bytes]` is an upload. One call runs after the other,
    in the main thread. What is raised reaches the component as WorkerError; InvalidArgument, NotFound, Conflict, Busy
    and Failed as themselves.

        @worker
        def transcribe(sound: bytes, language: str = "en") -> str:
            return model.transcribe(sound, language)
    """
    setattr(function, MARK, True)
    return function


__all__ = ["worker"]
