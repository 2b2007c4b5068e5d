"""A host where people call by browsers and by telephones: `external/calls` and `external/sip` ring each other."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.own_certificate import server_context

from hosts.baresip import Baresip
from hosts.calling_host import CALLS, TELEPHONE, calling_host
from hosts.joined_messages import set_secret
from hosts.joined_networks import JoinedNetworks, inside
from hosts.running_host import RunningHost, free_port

SIP = "external/sip"
PASSWORD = "Kd83-telephone-of-the-kitchen"
TONE = 700
NUMBERS: dict[str, Any] = {
    "door": {"rings": [TELEPHONE]},
    "anna": {"rings": ["client/anna"]},
    "kitchen": {"rings": [SIP]},
    "downstairs": {"rings": [f"{SIP}/kitchen", TELEPHONE]},
    "family": {"rings": ["client/anna", "client/ben"]},
    "all": {"rings": ["client/anna", f"{SIP}/kitchen"]},
    "upstairs": {"rings": [f"{SIP}/attic"]},
    "closed": {"rings": ["client/anna"], "by": ["client/ben"]},
}


class BridgedCalls:
    """A running host, its networks, and new telephones of its kitchen; browsers are for the other namespace."""

    def __init__(self, folder: Path, host: RunningHost, networks: JoinedNetworks) -> None:
        self.host, self.networks = host, networks
        self._folder = folder
        self._ports = free_port(), free_port()
        server_context(folder)

    def start(self) -> None:
        """Add the bridge to the host."""
        port, rtp = self._ports
        telephones = {
            "kitchen": {"rings": ["anna", "door", "family", "closed"], "rung_by": [CALLS], "md5": True},
            "attic": {"rung_by": [TELEPHONE], "md5": True},
        }
        listen = [
            {"name": "sip", "port": port, "why": "a test"},
            {"name": "rtp", "port": rtp, "protocol": "udp", "replies": True, "why": "a test"},
        ]
        words = [f"--option=telephones={json.dumps(telephones)}", f"--needs=listen={json.dumps(listen)}"]
        words += [f"--allow={CALLS}: [take_call]", "--allow=client/admin: *"]
        added = self.host.cli("component", "add", SIP, "--yes", *words)
        assert "secret set" in added.stdout + added.stderr, added
        set_secret(self.host, "passwords", f"kitchen {PASSWORD}\nattic {PASSWORD}-2\n".encode(), SIP)
        set_secret(self.host, "certificate", self._pair(), SIP)
        self.host.until(lambda _: self.host.loop("external.sip")["state"] == "active", "started the bridge")

    @contextmanager
    def kitchen(self) -> Iterator[Baresip]:
        """Start a telephone that registers and answers by itself. It keeps what it hears, so it is for one call."""
        account = f"auth_user=kitchen;auth_pass={PASSWORD};regint=60;mediaenc=srtp-mand;answermode=auto;"
        with tempfile.TemporaryDirectory(dir=self._folder) as folder, inside(self.networks.host):
            made = Baresip(
                Path(folder), "kitchen", f"127.0.0.1:{self._ports[0]}", ca=self._folder / "ca.pem", pair=self._pair(),
                hertz=TONE, account=account,
            )  # fmt: skip
            try:
                made.start()
                made.until_type("REGISTER_OK")
                yield made
            finally:
                made.close()

    def _pair(self) -> bytes:
        return (self._folder / "ca.pem").read_bytes() + (self._folder / "key.pem").read_bytes()


@contextmanager
def bridged_calls(request: pytest.FixtureRequest, name: str) -> Iterator[BridgedCalls]:
    """Start the host with the bridge."""
    with (
        tempfile.TemporaryDirectory(prefix="tlsrt-bridged.") as folder,
        calling_host(request, name, numbers=NUMBERS) as (host, networks),
        inside(networks.host),
    ):
        made = BridgedCalls(Path(folder), host, networks)
        made.start()
        yield made
