"""What the attacks on the helpers share: code that tries in one of them, and a component that asks for too much."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hosts.running_host import RunningHost

from tlsrt.errors import CallError

# For code in a helper: the errno that an action gets, and one line of its log with what it tried.
INSIDE = """
import json, os, socket

def errno_of(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

def errnos_of_opening(paths):
    return {path: errno_of(lambda: os.close(os.open(path, flags))) for path, flags in paths}

def say_tried(tried):
    os.write(2, ("TRIED " + json.dumps(tried) + chr(10)).encode())
"""


def tried_in(host: RunningHost, log: str) -> Any:
    """Return what code in a helper has said that it tried."""
    line = next(line for line in host.log(log).splitlines() if "TRIED " in line)
    return json.loads(line.partition("TRIED ")[2])


def ends_for_asking(host: RunningHost, address: str, *asked: int) -> str:
    """Have a component ask for something, wait until its process has ended for it and is back, and say why it ended."""
    process = address.replace("/", ".")
    before = host.loop(process)["restarts"]
    with suppress(CallError):  # it may answer before it ends
        host.client().call(address, "ask", *asked)
    host.until(lambda document: host.loop(process)["restarts"] > before, "its end")
    host.until(lambda document: host.loop(process)["state"] == "active", "the next one")
    sentence: str = host.loop(process)["last_death"]["sentence"]
    return sentence
