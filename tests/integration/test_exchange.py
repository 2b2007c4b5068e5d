"""Calls that send and read a stream at once, as people make them: from the command line and from a program."""

from __future__ import annotations

import queue
import subprocess
from collections.abc import Iterator

import pytest
from hosts.call_load import CALLED, LEDGER
from hosts.running_host import RunningHost, running

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **CALLED)


@pytest.fixture
def command(host: RunningHost) -> Iterator[subprocess.Popen[bytes]]:
    """`tlsrt call secondary/ledger lengths NAME`, whose standard input stays open."""
    words = [
        str(host.python),
        "-m",
        "tlsrt.channels.cli.main",
        "--bundle",
        str(host.config_path.parent / "admin.tlsrt"),
        "call",
        LEDGER,
    ]
    with subprocess.Popen(
        [*words, "lengths", "typed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def say(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


def hear(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None and process.stderr is not None
    return process.stdout.readline() or process.stderr.read()


def test_what_is_typed_is_answered_before_the_input_ends(command: subprocess.Popen[bytes]) -> None:
    for length in (1, 20, 300):
        say(command, b"x" * length)
        assert hear(command) == b"%d\n" % length
    assert command.stdin is not None
    command.stdin.close()
    assert command.wait(TIMEOUT_S) == 0


def test_the_command_ends_with_the_call_although_the_input_goes_on(command: subprocess.Popen[bytes]) -> None:
    say(command, b"abc")
    assert hear(command) == b"3\n"
    say(command, b" ")
    assert command.wait(TIMEOUT_S) == 0
    assert command.stderr is not None and command.stderr.read() == b""


def test_a_program_waits_for_an_item_before_it_says_more(host: RunningHost) -> None:
    heard: queue.Queue[int] = queue.Queue()

    def spoken() -> Iterator[bytes]:
        length = 1
        while length < 200:
            yield b"x" * length
            length += heard.get(timeout=TIMEOUT_S)

    items = []
    for item in host.client().exchange(LEDGER, "lengths", spoken(), "program"):
        items.append(item)
        heard.put(item)
    assert items == [1, 2, 4, 8, 16, 32, 64, 128]
