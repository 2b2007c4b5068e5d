"""Files of logs as a process gets them: what was asked for, each closed once, and none that came too late."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, cast

import pytest

from tlsrt.channels.control.life import FILES_OF_ANSWER, RuntimeFileMessage, RuntimeOutcome, RuntimeSaidMessage
from tlsrt.config.components import ComponentConfig
from tlsrt.config.needs import NeedsConfig
from tlsrt.config.runtime_rights import Act, RuntimeConfig
from tlsrt.errors import Busy, CallError, Failed, MisuseError, Unavailable
from tlsrt.loops.runtime.runtime_door import RuntimeDoor

READER = "third/reader"


class Granting:
    """A configuration that lets one component read logs."""

    def components_of(self, process: str) -> list[ComponentConfig]:
        return [ComponentConfig("third", "reader", "x:X", needs=NeedsConfig(runtime=(RuntimeConfig("logs", "why"),)))]


def door(answer: Callable[[RuntimeDoor, int, int], None]) -> RuntimeDoor:
    """Return a door whose supervisor answers each question in the same turn of the event loop."""

    def say(number: int, right: int, first: int, subject: bytes, asker: bytes) -> None:
        asyncio.get_running_loop().call_soon(answer, made, number, first)

    made = RuntimeDoor(cast("Any", Granting()), "third", say)
    return made


def opened() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def is_open(descriptor: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{descriptor}")


def test_pages_are_asked_for_until_there_are_no_more() -> None:
    asked: list[int] = []

    def answer(made: RuntimeDoor, number: int, first: int) -> None:
        asked.append(first)
        for index in range(FILES_OF_ANSWER if not first else 2):
            made.file_came(RuntimeFileMessage(number, f"p{first + index}", index % 2), opened())
        made.answered(RuntimeSaidMessage(number, RuntimeOutcome.DONE, b"\0" if first else b"\1"))

    found = asyncio.run(door(answer).files(READER, Act.LOGS, 96))
    assert asked == [0, FILES_OF_ANSWER] and [file.name for file in found] == [f"p{one}" for one in range(14)]
    assert [file.is_earlier for file in found[:2]] == [False, True]
    for file in found:
        file.close()
        file.close()


def test_more_files_than_an_answer_has_and_those_of_no_question_are_closed() -> None:
    held: list[int] = []

    def answer(made: RuntimeDoor, number: int, first: int) -> None:
        for _ in range(FILES_OF_ANSWER + 3):
            held.append(opened())
            made.file_came(RuntimeFileMessage(number, "p", 0), held[-1])
        assert [is_open(one) for one in held[-3:]] == [False] * 3
        late = opened()
        made.file_came(RuntimeFileMessage(number + 5, "p", 0), late)
        assert not is_open(late)
        made.answered(RuntimeSaidMessage(number, RuntimeOutcome.DONE, b"\0"))

    found = asyncio.run(door(answer).files(READER, Act.LOGS, 96))
    assert len(found) == FILES_OF_ANSWER


@pytest.mark.parametrize(
    ("outcome", "error", "says"),
    [
        (RuntimeOutcome.BUSY, Busy, "too much is asked"), (RuntimeOutcome.UNRECORDED, Unavailable, "audit log"),
        (RuntimeOutcome.FAILED, Failed, "cannot open the folder"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_and_what_came_before_it_is_closed(
    outcome: RuntimeOutcome, error: type[CallError], says: str
) -> None:
    held: list[int] = []

    def answer(made: RuntimeDoor, number: int, first: int) -> None:
        if not first:
            held.append(opened())
            made.file_came(RuntimeFileMessage(number, "p", 0), held[0])
        made.answered(RuntimeSaidMessage(number, RuntimeOutcome.DONE if not first else outcome, b"\1"))

    with pytest.raises(error, match=says):
        asyncio.run(door(answer).files(READER, Act.LOGS, 96))
    assert not is_open(held[0])


def test_without_the_grant_nothing_is_asked() -> None:
    made = door(lambda *said: pytest.fail("it was asked"))
    for component, act in ((READER, Act.AUDIT), ("third/other", Act.LOGS)):
        with pytest.raises(MisuseError, match="name it under `needs: runtime`"):
            asyncio.run(made.files(component, act, 96))
