"""A captured program: it speaks JSON-RPC on its descriptor 3, and does there what it is told to do."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

TALK = 3


def say(**members: Any) -> None:
    os.write(TALK, json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n")


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(TALK, view) :]


def act(number: int, what: str) -> None:
    """Answer a request in some wrong way, or do worse."""
    if what == "huge":
        write(b'{"jsonrpc":"2.0","id":%d,"result":"' % number + b"x" * (8 << 20) + b'"}\n')
    elif what == "deep":
        write(b'{"jsonrpc":"2.0","id":%d,"result":%s}\n' % (number, b"[" * 60_000 + b"]" * 60_000))
        say(id=number, result="after it")
    elif what == "junk":
        write(b"\xff\x00junk\n" * 1000)
    elif what == "unasked":
        for other in range(1000):
            say(id=number + 1000 + other, result="mine")
    elif what == "twice":
        say(id=number, result="first")
        say(id=number, result="second")
    elif what == "half":
        write(b'{"jsonrpc":"2.0","id":%d,"result":"\\ud800"}\n' % number)
        say(id=number, result="after it")
    elif what == "wrong type":
        say(id=number, result=3)
    elif what == "flood":
        while True:
            say(method="event", params={"topic": "told", "value": number})
    elif what == "leave a child":
        if os.fork():
            os._exit(0)
        signal.pause()
    elif what == "close":
        os.close(TALK)
        signal.pause()
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(9)
    elif what == "fine":
        say(id=number, result=f"{os.getpid()} {sorted(int(one) for one in DESCRIPTORS)}")
    # "silence": nothing


DESCRIPTORS = [str(number) for number in range(64) if os.path.exists(f"/proc/self/fd/{number}")]

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
for line in os.fdopen(os.dup(TALK), "rb"):
    request = json.loads(line)
    if "id" in request:
        act(request["id"], request["params"]["what"])
    else:
        sys.stderr.write(f"told of {request['method']}\n")
        sys.stderr.flush()
