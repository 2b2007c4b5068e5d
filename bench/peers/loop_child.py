"""A child like one of our loops, for other supervisors: `loop_child.py NAME READY_SOCKET`.

It imports exactly what a loop's process imports, tells on a unix datagram socket that it is ready, and sleeps.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn

import tlsrt.loops.entry
import tlsrt.loops.third.io  # a component

assert tlsrt.loops.entry
assert tlsrt.loops.third.io


def serve(name: str, ready: str) -> NoReturn:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(ready)
        channel.send(f"{name} {os.getpid()}".encode())
    while True:
        signal.pause()


if __name__ == "__main__":
    serve(*sys.argv[1:])
