"""A host with external/calls, components that are rung, and how a test reads the streams of a call."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tools.extras import need_extra
from tools.programs import need

from hosts.calling_browser import CallingBrowser
from hosts.joined_networks import HOST, JoinedNetworks, inside
from hosts.running_host import RunningHost
from tlsrt import Client, TlsrtError

CALLS, TELEPHONE, OTHER, CAMERA = "external/calls", "third/telephone", "third/other", "third/camera"
PORT = 7444
PACKAGE = Path(__file__).parent / "calling_package" / "telephones"
NUMBERS: dict[str, Any] = {
    "door": {"rings": [TELEPHONE]},
    "anna": {"rings": ["client/anna"], "for_s": 20},
    "ben": {"rings": ["client/ben"], "by": ["client/anna"]},
    "quick": {"rings": ["client/ben"], "for_s": 5},
    "family": {"rings": ["client/anna", "client/ben"]},
    "engaged": {"rings": [TELEPHONE]},
    "declining": {"rings": [TELEPHONE]},
    "patient": {"rings": [TELEPHONE]},
}
LISTEN = {"name": "media", "host": HOST, "port": PORT, "protocol": "udp", "replies": True, "why": "sound of calls"}
MANIFEST = {
    "class": "tlsrt.loops.external.calls:Calls",
    "health": {"then": "none"},
    "needs": {
        "listen": [LISTEN],
        "threads": 16,
        "state_mb": 16,
        "memory_mb": 384,
        "secrets": [{"name": "turn", "optional": True, "why": "credentials of browsers"}],
    },
}


@contextmanager
def calling_host(
    request: pytest.FixtureRequest,
    name: str,
    *,
    console: bool = False,
    more: Mapping[str, Any] | None = None,
    rights: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[tuple[RunningHost, JoinedNetworks]]:
    """A `running_calls` whose logs are printed if a test fails meanwhile."""
    failed = request.session.testsfailed
    with running_calls(name, console=console, more=more, rights=rights, **options) as (made, networks):
        yield made, networks
        if request.session.testsfailed > failed:
            made.print_logs()


@contextmanager
def running_calls(
    name: str,
    *,
    console: bool = False,
    more: Mapping[str, Any] | None = None,
    rights: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[tuple[RunningHost, JoinedNetworks]]:
    """A host in one namespace; the other one is for browsers. `options` are more of external/calls.

    `more` are components, and `rights` lines of policy.
    The door with a console is on loopback in the host's namespace.
    """
    need_extra("calling", "aiortc")
    need("chromium-headless-shell")
    networks = JoinedNetworks(name)
    try:
        with inside(networks.host):
            made = RunningHost(
                components={
                    CALLS: {**MANIFEST, "options": {"numbers": NUMBERS, "calls": 4, **options}},
                    TELEPHONE: {"class": "telephones:Telephone"}, OTHER: {"class": "telephones:Telephone"},
                    **(more or {}),
                },
                packages=[PACKAGE], execute=True, clients=["anna", "ben", "carl", "eve"],
                extra={
                    "supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}},
                    **({"door": {"console": True}} if console else {}),
                },
                detection={"mode": "act", "allow": ["127.0.0.1"]},
                policy={
                    f"client/anna -> {CALLS}": "*", f"client/ben -> {CALLS}": "*",
                    f"client/carl -> {CALLS}": "*",
                    f"client/eve -> {CALLS}": ["numbers"],
                    f"client/admin -> {TELEPHONE}": "*", f"client/admin -> {OTHER}": "*",
                    f"{CALLS} -> {TELEPHONE}": ["take_call"], f"{OTHER} -> {CALLS}": ["dial"],
                    **(rights or {}),
                },
            )  # fmt: skip
            with made:
                made.cli("status")  # what runs verbs is there from now on
                yield made, networks
    finally:
        networks.close()


def add_camera(host: RunningHost, sources: str) -> None:
    """Add third/camera with these sources, which external/calls may see."""
    need("ffmpeg")
    words = ["--option", f"sources={sources}", "--allow", f"{CALLS}: [frames]", "--allow", 'client/admin: "*"']
    added = host.cli("component", "add", CAMERA, "--yes", *words)
    assert added.returncode == 0, added
    host.until(lambda _: host.loop("third.camera")["state"] == "active", "the start of the camera")


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Look again until it is so; return what it is."""
    limit_s = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < limit_s, "it never was so"
        time.sleep(0.01)
    return found


class Spoken:
    """A stream of external/calls that a thread reads."""

    def __init__(self, client: Client, method: str, *words: Any) -> None:
        self.items: queue.Queue[dict[str, Any]] = queue.Queue()
        self.error: TlsrtError | None = None
        self.stream = client.stream(CALLS, method, *words, timeout_s=300)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for item in self.stream:
                self.items.put(item)
        except TlsrtError as error:
            self.error = error
        self.items.put({"state": "closed"})

    def next(self, *states: str) -> dict[str, Any]:
        """Return the next item of one of these states."""
        before: list[dict[str, Any]] = []
        while True:
            item = self.items.get(timeout=30)
            if item["state"] in states:
                return item
            assert item["state"] != "closed", (states, before, self.error)
            before.append(item)


def ring(
    client: Client, browser: CallingBrowser, number: str = "door", hertz: int = 1000,
    servers: Sequence[dict[str, Any]] = (), pictures: str = "",
) -> tuple[Spoken, str]:  # fmt: skip
    """Ring a number by the browser, which uses these STUN and TURN servers, and asks for pictures one way."""
    spoken = Spoken(client, "ring", number, browser.offer(hertz, servers, pictures))
    rings = spoken.next("rings")
    browser.accept(rings["sdp"])
    return spoken, rings["call"]
