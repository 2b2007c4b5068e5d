"""The connection to a bus of D-Bus: what a peer answers becomes a value or one sentence, and no descriptor is left."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pytest

from tlsrt.bus import Bus, BusPeer, Message, NoAnswer, Variant
from tlsrt.errors import CallError, Denied, Failed, NotFound, Unavailable

NAME, PATH = "org.example.Lamp", "/lamp"


class FakeConnection:
    """A connection of dbus-fast: `answer` makes the answer to each call, or raises."""

    def __init__(self, answer: Callable[[Message], Any]) -> None:
        self._answer = answer
        self.release = asyncio.Event()
        self.release.set()

    async def call(self, message: Message) -> Any:
        message.serial = 7
        await self.release.wait()
        return self._answer(message)


def peer(answer: Callable[[Message], Any], **options: Any) -> tuple[Bus, BusPeer, FakeConnection]:
    bus, connection = Bus(**options), FakeConnection(answer)
    bus._bus = cast("Any", connection)
    return bus, bus.peer(NAME), connection


class Pauses:
    """asyncio.sleep of the module: notes how long, and takes a turn."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await _SLEEP(0)


_SLEEP = asyncio.sleep
# That of Debian 13 leaves a socket open where none listens, until it is collected. 5.2 does not.
LEAVES_SOCKETS = version("dbus-fast").startswith("2.")


@pytest.mark.filterwarnings(*["ignore:unclosed <socket:ResourceWarning"] * LEAVES_SOCKETS)
def test_a_host_without_a_bus_is_tried_less_and_less_and_at_once_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[float] = []
    waits: list[float] = []
    wait_for = asyncio.wait_for

    async def noted(future: Any, timeout: float) -> Any:
        waits.append(timeout)
        if len(waits) < 8:
            future.close()
            raise TimeoutError
        return await wait_for(future, 10)

    async def main() -> None:
        bus = Bus(address=f"unix:path={tmp_path}/none")
        monkeypatch.setattr(asyncio, "sleep", Pauses())
        monkeypatch.setattr(asyncio, "wait_for", noted)
        keeping = asyncio.create_task(bus.keep())
        while len(waits) < 8:
            await _SLEEP(0)
        before = len(waits)
        for _ in range(20):
            await _SLEEP(0)
        assert len(waits) == before  # it waits
        with pytest.raises(Unavailable, match="No such file"):
            await bus.peer(NAME).call(PATH, NAME, "Shine")
        while len(waits) == before:
            await _SLEEP(0)
        keeping.cancel()
        tried.extend(waits)

    asyncio.run(main())
    gc.collect()  # such sockets, in this test and in no other; with later versions there are none
    assert tried[:8] == [0, 2, 6, 14, 30, 58, 58, 58]


def error(name: str) -> Callable[[Message], Message]:
    return lambda asked: Message.new_error(asked, name, "no such luck")


def test_properties_are_plain_values() -> None:
    async def main() -> None:
        _, lamp, _ = peer(lambda asked: Message.new_method_return(asked, "a{sv}", [{"On": Variant("b", True)}]))
        assert await lamp.properties(PATH, NAME) == {"On": True}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("org.freedesktop.DBus.Error.ServiceUnknown", Unavailable), ("org.example.AccessDenied", Denied),
        ("org.freedesktop.DBus.Error.UnknownObject", NotFound), ("org.example.Odd", Failed),
    ],
)  # fmt: skip
def test_an_error_is_a_sentence_with_the_name_of_the_peer(name: str, kind: type[CallError]) -> None:
    async def main() -> None:
        _, lamp, _ = peer(error(name))
        with pytest.raises(kind, match=r"org\.example\.Lamp.*no such luck"):
            await lamp.call(PATH, NAME, "Shine")

    asyncio.run(main())


def test_without_a_bus_and_without_an_answer_it_says_so() -> None:
    def lost(asked: Message) -> Message:
        raise EOFError

    async def main() -> None:
        with pytest.raises(Unavailable, match="as there is no bus here: it was not tried yet"):
            await Bus().peer(NAME).call(PATH, NAME, "Shine")
        _, lamp, connection = peer(lost, answer_s=0.01)
        with pytest.raises(NoAnswer, match="the bus was lost: EOFError"):
            await lamp.call(PATH, NAME, "Shine")
        connection.release.clear()
        with pytest.raises(NoAnswer, match="did not answer Shine within"):
            await lamp.call(PATH, NAME, "Shine")
        connection.release.set()

    asyncio.run(main())


def with_pipe(signature: str = "h") -> tuple[int, Callable[[Message], Message]]:
    """Return the end of a pipe that sees whether the other one, which the answer brings, is closed."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    return ours, lambda asked: Message.new_method_return(asked, signature, [0], unix_fds=[theirs])


def is_closed(ours: int) -> bool:
    try:
        return os.read(ours, 1) == b""
    except BlockingIOError:
        return False


def test_a_descriptor_is_the_callers_or_closed() -> None:
    async def main() -> None:
        ours, answer = with_pipe()
        taken = await peer(answer)[1].take(PATH, NAME, "Lend")
        assert not is_closed(ours)
        os.close(taken)
        assert is_closed(ours)
        other, answer = with_pipe()
        await peer(answer)[1].call(PATH, NAME, "Shine")
        assert is_closed(other), "nobody had asked for it"
        with pytest.raises(Failed, match="with 0 descriptors"):
            await peer(lambda asked: Message.new_method_return(asked))[1].take(PATH, NAME, "Lend")
        os.close(ours)
        os.close(other)

    asyncio.run(main())


def test_a_descriptor_that_comes_too_late_is_closed() -> None:
    async def main() -> None:
        ours, answer = with_pipe()
        _, lamp, connection = peer(answer, answer_s=0.01)
        connection.release.clear()
        with pytest.raises(NoAnswer):
            await lamp.take(PATH, NAME, "Lend")
        assert not is_closed(ours)
        connection.release.set()
        while not is_closed(ours):
            await asyncio.sleep(0)
        os.close(ours)

    asyncio.run(main())


def test_a_signal_is_heard_without_its_descriptors_and_that_of_the_bus_is_not() -> None:
    async def main() -> None:
        heard: list[str] = []
        bus, _, _ = peer(lambda asked: asked, heard=lambda message: heard.append(str(message.member)))
        ours, theirs = os.pipe()
        bus._take(Message.new_signal(PATH, NAME, "Changed", "h", [0], [theirs]))
        assert heard == ["Changed"] and is_closed(ours)
        other = Message.new_signal(PATH, NAME, "NameAcquired")
        other.sender = "org.freedesktop.DBus"
        bus._take(other)
        assert heard == ["Changed"]
        os.close(ours)

    asyncio.run(main())
