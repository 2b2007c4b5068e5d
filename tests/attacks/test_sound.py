"""A sound server that lies: garbage without end, in the place of the one that an operator has named."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hosts.running_host import RunningHost, running
from tools.programs import need

from tlsrt import Unavailable

SOUND, PROCESS = "third/sound", "third.sound"
SILENCE = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\2\0\0\0\0\0"


@pytest.fixture
def liar() -> Iterator[int]:
    """A server that sends garbage to all who connect, also what looks like large messages of the protocol."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.settimeout(5)
                client.sendall(b"\x7f\xff\xff\xff\xff\xff\xff\xff" + os.urandom(1 << 20))

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


@pytest.fixture
def host(request: pytest.FixtureRequest, liar: int) -> Iterator[RunningHost]:
    need("pactl")
    device = f"{{room: {{server: '127.0.0.1:{liar}'}}}}"
    for host in running(request):
        words = ["--option", f"outputs={device}", "--option", f"inputs={device.replace('room', 'ear')}"]
        words += ["--needs", f'programs.pacat.egress=[{{to: ["127.0.0.1:{liar}"], why: a liar}}]']
        added = host.cli("component", "add", SOUND, "--yes", *words)
        assert added.returncode == 0, added.stderr
        yield host


def test_it_harms_no_other_and_gives_one_sentence(host: RunningHost) -> None:
    client = host.client()
    for _ in range(3):
        with pytest.raises(Unavailable, match="the sound server does not play: "):
            client.upload(SOUND, "play", SILENCE, "room", 1)
        with pytest.raises(Unavailable, match="input ear: the sound server records nothing: "):
            list(client.stream(SOUND, "record", "ear"))
    assert [one.get("waiting") for one in client.call(SOUND, "list")] == [0, None]
    loop = host.loop(PROCESS)
    assert (loop["state"], loop["violations"], loop["restarts"]) == ("active", 0, 0)
