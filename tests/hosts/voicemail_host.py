"""A host with an answering machine: external/voicemail behind numbers of external/calls, with speech and messages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tools.extras import need_extra
from tools.programs import need

from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, OTHER, TELEPHONE, calling_host, until
from hosts.joined_networks import JoinedNetworks, inside
from hosts.running_host import RunningHost

VOICEMAIL, MESSAGES, SPEECH = "external/voicemail", "external/messages", "secondary/speech"
BEGIN_HERTZ = 1000  # the tone after which it records
NUMBERS: dict[str, Any] = {
    "home": {"rings": ["client/anna"], "for_s": 5, "then": VOICEMAIL},
    "door": {"rings": [TELEPHONE]},
    "two": {"rings": ["client/anna", f"{TELEPHONE}/declining"], "then": f"{VOICEMAIL}/home"},
    "stuck": {"rings": [f"{TELEPHONE}/patient"], "for_s": 5, "then": f"{VOICEMAIL}/home"},
    "nobox": {"rings": ["client/anna"], "then": VOICEMAIL},
    "away": {"rings": ["client/anna"], "then": f"{OTHER}/declining"},
}


@contextmanager
def voicemail_host(request: pytest.FixtureRequest, name: str) -> Iterator[tuple[RunningHost, JoinedNetworks]]:
    """Start the host; anna has the box of `home`."""
    need_extra("ai-speech", "faster_whisper")
    rights = {f"{CALLS} -> {OTHER}": ["take_call"]}
    with calling_host(request, name, numbers=NUMBERS, rights=rights) as (host, networks), inside(networks.host):
        boxes = {"home": {"to": ["client/anna"]}}
        for address, *words in (
            (SPEECH,),
            (MESSAGES, "--allow=client/anna: *"),
            (VOICEMAIL, f"--option=boxes={json.dumps(boxes)}", "--option=quiet_s=2", "--option=message_s=10",
             f"--allow={CALLS}: [take_call]", "--allow=client/admin: *"),
        ):  # fmt: skip
            added = host.cli("component", "add", address, "--yes", *words)
            assert added.returncode == 0, added
        host.until(lambda _: host.loop("external.voicemail")["state"] == "active", "started the answering machine")
        yield host, networks


def speech(text: str) -> bytes:
    """Return a text as espeak-ng says it, a WAV file."""
    words = [need("espeak-ng"), "--stdout", "-v", "en", "-s", "130", text]
    return subprocess.run(words, capture_output=True, check=True).stdout


def until_tone(browser: CallingBrowser) -> None:
    """Wait for the tone behind the greeting, and for its end."""
    until(lambda: abs(browser.run("loudest()")["hertz"] - BEGIN_HERTZ) < 15, 60)
    until(
        lambda: abs(browser.run("loudest()")["hertz"] - BEGIN_HERTZ) > 15 or browser.run("loudest()")["decibel"] < -60
    )
