"""The kettle without a host: the test has the other end of its descriptor 3."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

KETTLE = Path(__file__).parent.parent / "kettle.sh"


@pytest.fixture
def kettle() -> Iterator[IO[bytes]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)

    def place() -> None:
        os.dup2(theirs.fileno(), 3)

    with ours, subprocess.Popen([KETTLE], pass_fds=[3], preexec_fn=place, stdout=subprocess.DEVNULL) as process:
        theirs.close()
        with ours.makefile("rwb") as talk:
            yield talk
        ours.shutdown(socket.SHUT_RDWR)
        assert process.wait(10) == 0, "it ends when nothing is left to read"


def ask(talk: IO[bytes], **members: Any) -> None:
    talk.write(json.dumps({"jsonrpc": "2.0", **members}, separators=(",", ":")).encode() + b"\n")
    talk.flush()


def test_it_boils_and_says_so(kettle: IO[bytes]) -> None:
    ask(kettle, id=7, method="boil", params={"litres": 2.5})
    assert json.loads(kettle.readline())["params"] == {"topic": "boiled", "value": 2.5}
    assert json.loads(kettle.readline()) == {"jsonrpc": "2.0", "id": 7, "result": "2.5 litres are hot"}


def test_what_it_does_not_know_is_an_error_and_a_caller_that_has_given_up_is_none(kettle: IO[bytes]) -> None:
    ask(kettle, method="cancel", params={"id": 7})
    ask(kettle, id=8, method="simmer", params={})
    assert json.loads(kettle.readline())["error"]["code"] == -32601
