"""What a process asks the helper for: within the bounds that the supervisor has, and how an answer is told."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tlsrt.channels.control.life import SETTINGS_AT_ONCE, SETTINGS_WAITING, AskOutcome, AskWhat, HelpedMessage
from tlsrt.errors import Busy, CallError, Failed, OutcomeUnknown, Unavailable
from tlsrt.loops.runtime.grants import ProcessGrants
from tlsrt.supervisor.supervision.life_channel import MAX_RECORDS_PER_S


class Nothing:
    """A configuration that grants a process nothing: which number is asked for is no matter here."""

    def devices_of(self, process: str) -> tuple[()]:
        return ()

    host_settings_of = components_of = host_events_of = devices_of


class Asked:
    """A life channel that keeps what is sent, and answers at once if it is to."""

    def __init__(self, outcome: AskOutcome | None = None) -> None:
        self.outcome = outcome
        self.numbers: list[int] = []
        self.grants = ProcessGrants(cast("Any", Nothing()), "third", self.take, lambda *said: None, lambda *said: None)

    def take(self, number: int, *fields: int) -> None:
        self.numbers.append(number)
        if self.outcome is not None:
            asyncio.get_running_loop().call_soon(self.grants.answered, HelpedMessage(number, int(self.outcome), 5))


def test_what_is_set_too_often_is_busy_before_a_record_is_sent() -> None:
    """As many records as the supervisor ends a process for never leave it."""

    async def set_many(asked: Asked) -> int:
        busy = 0
        for value in range(2 * MAX_RECORDS_PER_S):
            try:
                await asked.grants.change(AskWhat.SET, 0, value, 0, "light")
            except Busy:
                busy += 1
        return busy

    asked = Asked(AskOutcome.DONE)
    busy = asyncio.run(set_many(asked))
    assert SETTINGS_AT_ONCE <= len(asked.numbers) < MAX_RECORDS_PER_S / 2
    assert busy == 2 * MAX_RECORDS_PER_S - len(asked.numbers)


def test_as_many_wait_for_an_answer_as_the_supervisor_takes() -> None:
    async def set_at_once(asked: Asked) -> set[type[BaseException | None]]:
        tasks = [asyncio.create_task(asked.grants.change(AskWhat.SET, 0, value, 0, "light")) for value in range(60)]
        while sum(task.done() for task in tasks) < 60 - SETTINGS_WAITING:
            await asyncio.sleep(0)
        ended = {type(one.exception()) for one in tasks if one.done()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return ended

    asked = Asked()
    assert asyncio.run(set_at_once(asked)) == {Busy}
    assert len(asked.numbers) == SETTINGS_WAITING


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (AskOutcome.BUSY, Busy), (AskOutcome.UNKNOWN, OutcomeUnknown), (AskOutcome.UNRECORDED, Unavailable),
        (AskOutcome.FAILED, Failed), (AskOutcome.REFUSED, Failed),
    ],
)  # fmt: skip
def test_how_it_ended_is_told(outcome: AskOutcome, error: type[CallError]) -> None:
    with pytest.raises(error, match="light"):
        asyncio.run(Asked(outcome).grants.change(AskWhat.SET, 0, 1, 0, "light"))
