"""What the doorway tells an authority that does not read now: in order, and none of it is lost."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from unittest.mock import Mock

import pytest
from fakes.trust_ends import Heard, channels, hear

from tlsrt.channels.control.trust import DoorMessage
from tlsrt.config.deception import DeceptionConfig
from tlsrt.errors import PeerError
from tlsrt.loops.doorway.served_door import ServedBackend, ServedDoor, issued_mode
from tlsrt.loops.gate.decoys import Decoys
from tlsrt.loops.primary.client_requests import ClientRequests
from tlsrt.loops.primary.decoy_reports import DecoyReports
from tlsrt.loops.primary.doorway import Doorway

DECOY = "secondary/vault"
SESSION = b"s" * 16


class Stage:
    """A doorway whose channel to the authority is full."""

    def __init__(self) -> None:
        self.ours, self.theirs = channels()
        self.decoys = Decoys(DeceptionConfig(components=(DECOY,)))
        self.router = Mock(remove_client=Mock(return_value=SESSION))
        process = Mock(trust=self.ours)
        process.config.serves_http = False
        process.config.door.client_ca_key = None
        self.requests = ClientRequests(self.ours)
        self.reports = DecoyReports(self.decoys, self.router, {}, self.ours)
        self.served: ServedDoor
        self.doorway = Doorway(process, self.router, self.requests, self.reports, Mock(), partial(self._make, process))
        for number in range(1000):
            self.requests.ask("challenge", number)

    def _make(self, process: Mock, backend: ServedBackend) -> ServedDoor:
        self.served = ServedDoor(process.config, backend, Mock(), Mock(), self.requests.tell, -1)
        return self.served

    async def heard(self) -> Heard:
        """Return all that comes, but for the questions."""
        found: Heard = []
        for _ in range(100):
            found += [each for each in hear(self.theirs) if each[0] != "challenge"]
            await asyncio.sleep(0)
        return found

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def test_how_the_files_of_a_door_were_tried_is_told_later() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.served._contexts = Mock(make=Mock(return_value=""))
        stage.doorway.handlers["door"](DoorMessage(3), [])
        assert await stage.heard() == [("tried", 3)]
        stage.close()

    asyncio.run(scene())


def test_who_accessed_a_decoy_and_leaves_is_reported_before_its_session_has_ended() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.decoys.check(SESSION, DECOY, "get")
        stage.doorway.on_closed(1)
        stage.reports.report()
        assert await stage.heard() == [("decoy_accessed", SESSION), ("close", SESSION)]
        stage.close()

    asyncio.run(scene())


def test_connections_that_ended_are_counted_until_they_are_reported() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.doorway.on_refused("192.0.2.1", "handshake")
        while True:
            try:
                stage.ours.send("prepared", 1)
            except PeerError:
                break
        with pytest.raises(PeerError, match="hung"):
            stage.doorway.report()
        await stage.heard()
        stage.doorway.report()
        stage.doorway.report()
        assert [name for name, _ in await stage.heard()] == ["turned_away"]
        stage.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("web", "mode"),
    [
        (None, ssl.CERT_REQUIRED),
        (ssl.CERT_NONE, ssl.CERT_NONE),  # which counts as false
        (ssl.CERT_OPTIONAL, ssl.CERT_OPTIONAL),
    ],
)
def test_a_browser_needs_no_certificate_where_that_of_a_ca_is_shown(
    web: ssl.VerifyMode | None, mode: ssl.VerifyMode
) -> None:
    assert issued_mode(web) is mode
