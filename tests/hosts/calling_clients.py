"""Three clients of a host in a booted systemd, which call on and on over its restarts and upgrades.

With a short pause, as the host remembers the key of each call that can be repeated, and takes no more than its bound.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from hosts.booted_systemd import BootedSystemd

# Calls that can be repeated, until its input ends; then it says how each was answered.
_LOAD = """
import json, sys, threading
from tlsrt import Client
made, right, failed, stop = [], [], [], threading.Event()
def go(number):
    with Client("/etc/tlsrt/admin.tlsrt") as client:
        while not stop.is_set():
            made.append(number)
            try:
                answer = client.call("secondary/store", "get", "load", idempotent=True, timeout_s=60)
                right.append(answer == "value")
            except Exception as error:
                failed.append(repr(error))
            stop.wait(0.02)
with Client("/etc/tlsrt/admin.tlsrt") as client:
    client.call("secondary/store", "put", "load", "value")
threads = [threading.Thread(target=go, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
print("calling", flush=True)
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
print(json.dumps({"made": len(made), "right": sum(right), "failed": failed}))
"""


class CallingClients:
    """They run until `end_all_answered`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def end_all_answered(self, *, least: int) -> None:
        """End them; every call, and at least `least`, must have had the right answer."""
        said, _ = self._process.communicate(timeout=90)
        told = json.loads(said)
        assert (told["failed"], told["right"]) == ([], told["made"]), told["failed"][:3]
        assert told["made"] >= least


@contextmanager
def calling(machine: BootedSystemd, python: str) -> Iterator[CallingClients]:
    """Let them call, by an interpreter there that finds tlsrt."""
    with machine.popen(python, "-c", _LOAD, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == "calling\n"
        yield CallingClients(process)
