"""What the AI services share: shares of callers, the sentence for a missing extra, uploads that stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from tlsrt import Busy, DeadlineExceeded, Unavailable
from tlsrt.loops.secondary import model_calls
from tlsrt.loops.secondary.model_calls import Extra, ModelCalls, paced


def test_one_caller_has_a_share_and_all_have_a_bound() -> None:
    calls = ModelCalls("secondary/search", 3, 2)
    with ExitStack() as stack:
        for caller in ("a", "a", "b"):
            stack.enter_context(calls.one(caller))
        for caller in ("a", "c"):
            with pytest.raises(Busy, match="secondary/search has 2 calls of yours, or 3 of all"), calls.one(caller):
                pass
    with calls.one("c"):
        pass


def test_a_missing_extra_is_named_with_how_to_get_it() -> None:
    Extra("ai", "searching", "json").expect()
    with pytest.raises(Unavailable, match=r"searching needs the extra `ai`: pip install 'tlsrt\[ai\]', seal, and re"):
        Extra("ai", "searching", "json", "no_such_package_of_models").expect()


def test_an_upload_that_stalls_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_calls, "STALL_S", 0.01)
    got: list[bytes] = []

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async def take() -> None:
        async for piece in paced(parts()):
            got.append(piece)

    with pytest.raises(DeadlineExceeded, match="end the upload, or send silence"):
        asyncio.run(take())
    assert got == [b"first"]
