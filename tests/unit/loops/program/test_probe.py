"""Probes: a listener whose program takes nothing is found out, though the kernel takes its connections."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tlsrt.loops.program.notice import Notice, read_notice_untrusted
from tlsrt.loops.program.probe import probe_http, probe_tcp, queue_of


def listening() -> tuple[socket.socket, int]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    listener.setblocking(False)
    return listener, listener.getsockname()[1]


def test_the_queue_of_a_listener_is_what_its_program_has_not_taken() -> None:
    listener, port = listening()
    with listener:
        assert queue_of(listener) == 0
        ends = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        assert queue_of(listener) == 3
        listener.accept()[0].close()
        assert queue_of(listener) == 2
        for end in ends:
            end.close()


def test_a_listener_is_well_when_its_program_takes_the_connection_and_not_before() -> None:
    async def main() -> None:
        listener, port = listening()
        with listener:
            probe = asyncio.ensure_future(probe_tcp("127.0.0.1", port, listener))
            while not queue_of(listener):
                await asyncio.sleep(0)
            assert not probe.done()
            listener.accept()[0].close()
            assert await probe == ""
        assert "cannot connect" in await probe_tcp("127.0.0.1", port, listener)

    asyncio.run(main())


def test_a_listener_that_its_program_has_ended_is_not_well_although_there_is_another_one_at_its_place() -> None:
    async def main() -> None:
        listener, port = listening()
        with listener, listener.dup() as inherited:
            listener.shutdown(socket.SHUT_RDWR)
            assert queue_of(inherited) is None
            with socket.create_server(("127.0.0.1", port)):
                found = await probe_tcp("127.0.0.1", port, inherited)
        assert found == f"port {port}: its program has ended the listener"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 204 \r\n\r\n", ""),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "GET /health is answered with 503"),
        (b"HTTP/1.1 2000\r\n\r\n", "does not answer in HTTP"),
        (b"x" * 5000, "does not answer in HTTP"),
        (b"", "does not answer in HTTP"),
    ],
)
def test_only_an_answer_of_2xx_is_well(answer: bytes, trouble: str) -> None:
    async def main() -> None:
        seen: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            found = await probe_http("127.0.0.1", port, "/health")
        assert trouble in found
        assert bool(trouble) == bool(found)
        assert seen[0].startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:")

    asyncio.run(main())


def test_a_notice_is_what_is_understood_of_it() -> None:
    assert read_notice_untrusted(b"READY=1\nSTATUS=serving 3\x1b[2J\nMAINPID=1") == Notice(
        ready=True, status="serving 3\\x1b[2J"
    )
    assert read_notice_untrusted(b"WATCHDOG=1").watchdog
    assert read_notice_untrusted(b"WATCHDOG=trigger").trigger
    assert read_notice_untrusted(b"RELOADING=1\nMONOTONIC_USEC=1").reloading
    for junk in (b"", b"\xff=\xff", b"=", b"READY", b"READY=10", b"\n" * 4096):
        assert read_notice_untrusted(junk) == Notice()
