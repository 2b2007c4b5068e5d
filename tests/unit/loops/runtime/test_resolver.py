"""What a loop with a network tells its libraries."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from tlsrt.config.egress import parse_egress
from tlsrt.loops.runtime.resolver import resolver_options


@pytest.mark.parametrize(
    ("rules", "options"),
    [
        ([], "single-request use-vc"),
        (["192.0.2.1:53"], "single-request use-vc"),
        (["192.0.2.1:123/udp"], "single-request use-vc"),
        (["192.0.2.1:53/udp"], "single-request"),
        (["*:*/udp"], "single-request"),
    ],
)
def test_names_are_asked_for_one_by_one_and_over_tcp_unless_udp_is_listed(rules: list[str], options: str) -> None:
    assert resolver_options([parse_egress(rule) for rule in rules]) == options


SENDS_MUCH = """
import asyncio, socket
from tlsrt.loops.runtime.resolver import prepare_outbound

class Counting(socket.socket):
    sendmsgs = 0
    def sendmsg(self, *arguments):
        Counting.sendmsgs += 1
        return super().sendmsg(*arguments)

async def main():
    prepare_outbound([])
    ours, theirs = socket.socketpair()
    counting = Counting(fileno=ours.detach())
    counting.setblocking(False)
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=counting)
    other, kept = await asyncio.open_connection(sock=theirs)
    for _ in range(64):
        writer.write(bytes(65536))
    drained = asyncio.create_task(writer.drain())
    await other.readexactly(64 * 65536)
    await drained
    print(Counting.sendmsgs)
    kept.close()

asyncio.run(main())
"""


def test_asyncio_sends_what_waits_without_sendmsg() -> None:
    done = subprocess.run([sys.executable, "-c", SENDS_MUCH], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert "RES_OPTIONS" not in os.environ and asyncio.selector_events is not None
