"""Input devices that lie and flood, and packages that would have a keyboard without saying so."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from hosts.plugged_input import INPUTS, Keys
from hosts.running_host import running

INPUT, PROCESS = "third/input", "third.input"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices are opened by root")


def test_a_device_that_lies_is_bounded_and_no_keyboard_is_had_unsaid(request: pytest.FixtureRequest) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
    liar = Keys(folder, "liar")
    liar.plug()
    try:
        for host in running(request, prelude=INPUTS):

            def add(device: str) -> str:
                words = ["--option", "inputs={liar: {}}", "--needs", f"devices=[{{name: liar, {device}, why: a test}}]"]
                added = host.cli("component", "add", INPUT, "--yes", *words)  # noqa: B023
                return "" if added.returncode == 0 else added.stdout + added.stderr

            assert "say `input: grabbed`" in add("path: /dev/input/event0")
            assert "never written to" in add("path: /dev/input/event0, input: grabbed, mode: rw")
            assert "cannot be had" in add("path: /dev/hidraw0, input: grabbed")
            assert "cannot be had" in add("path: /dev/uinput, input: shared")
            assert "must lie below /dev" in add("path: /dev/input/../mem, input: shared")
            assert add(f"path: {liar.path}, input: shared") == ""
            client = host.client()
            heard = client.stream(INPUT, "listen", "liar", queue=1)
            next(heard)
            end = time.monotonic() + 30
            while client.call(INPUT, "list")[0]["events"] < 5000:
                os.write(liar.master, os.urandom(2400))
                assert time.monotonic() < end
            liar.press(30)
            loop = host.loop(PROCESS)
            assert (loop["state"], loop["violations"], loop["restarts"]) == ("active", 0, 0)
    finally:
        liar.unplug()
        folder.rmdir()
