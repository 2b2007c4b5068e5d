"""The yes to a call that a model wants is one that was typed after the question."""

from __future__ import annotations

import asyncio
import os
import pty

import pytest

from tlsrt.asking import WantedCall
from tlsrt.channels.cli import ask


@pytest.mark.parametrize(("then", "is_called"), [(b"n\n", False), (b"y\n", True)])
def test_a_yes_that_was_typed_before_the_question_is_no_answer(
    then: bytes, is_called: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, terminal = pty.openpty()

    async def scene() -> bool:
        os.write(person, b"y\ny\n")
        asking = asyncio.ensure_future(ask._asked(WantedCall("forth/power", "off", {})))
        shown = b""
        while b"[y/N]" not in shown:
            await asyncio.sleep(0)
            shown += await asyncio.to_thread(os.read, person, 1000)
        os.write(person, then)
        async with asyncio.timeout(30):
            return await asking

    monkeypatch.setattr(ask, "TERMINAL", os.ttyname(terminal))
    try:
        assert asyncio.run(scene()) is is_called
    finally:
        os.close(person)
        os.close(terminal)
