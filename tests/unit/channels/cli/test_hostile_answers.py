"""What a host answers is not believed where the command writes a file, or shows a time."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tlsrt.channels.cli import messages
from tlsrt.errors import InvalidArgument
from tlsrt.when import shown_time


@pytest.mark.parametrize("name", ["../../.ssh/authorized_keys", "/etc/passwd", "a/b", "..", ""])
def test_a_file_of_a_message_is_saved_by_its_name_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    class Captured:
        """A host whose `external/messages` is captured."""

        @property
        def rights(self) -> dict[str, tuple[str, ...]]:
            return {"external/messages": ("*",)}

        async def call(self, *words: Any, **more: Any) -> dict[str, Any]:
            return {"id": "a" * 32, "attachments": [{"name": name, "size": 1, "sha256": "0" * 64}]}

        async def get(self, place: str, to: Path, **more: Any) -> None:
            asked.append(to)

    @asynccontextmanager
    async def client_of(arguments: argparse.Namespace) -> AsyncIterator[Any]:
        yield Captured()

    monkeypatch.setattr(messages, "client_of", client_of)
    words = argparse.Namespace(what="read", ids=["a" * 32], follow=False, save=str(tmp_path / "here"), timeout=1.0)
    with pytest.raises(InvalidArgument, match="which is no name"):
        asyncio.run(messages.inbox(words))
    assert asked == []


def test_a_time_that_no_calendar_has_is_shown_as_unknown() -> None:
    assert [shown_time(each) for each in (1 << 53, 253402300800000, -(1 << 60), 0)] == ["?", "?", "?", "-"]
