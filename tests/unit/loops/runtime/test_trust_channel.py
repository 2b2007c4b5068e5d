"""A loop whose authority does not read now: it goes on, and says later what it has to say."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from unittest.mock import Mock

from fakes.trust_ends import channels, hear

from tlsrt.errors import PeerError
from tlsrt.loops.runtime.authority_client import AuthorityClient
from tlsrt.loops.runtime.process import LoopProcess

_GRANTS = ("devices_of", "host_settings_of", "components_of", "host_events_of")
NO_GRANTS = dict.fromkeys([f"{name}.return_value" for name in _GRANTS], ())


def test_an_epoch_is_acknowledged_when_the_authority_reads_again() -> None:
    async def scene() -> None:
        ours, theirs = channels()
        life, supervisor = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = LoopProcess(
            Mock(**NO_GRANTS), "primary", 1, life.detach(), ours.detach(), {}, Mock(**{"profile.threads": 0}), Mock()
        )
        process.role = Mock(monitor=None)
        process.authority = AuthorityClient(process.verifier, {}, None)
        with suppress(PeerError):
            for number in range(100_000):
                process.trust.send("challenge", number)
        theirs.send("prepare", 7)
        process._on_trust()
        assert not process._ended.is_set(), "an authority that is slow to read is no reason to end"
        assert {name for name, _ in hear(theirs)} == {"challenge"}
        process._beat(0.0)
        assert hear(theirs) == [("prepared", 7)]
        process._beat(0.0)
        assert hear(theirs) == [], "once"
        for each in (process.trust, process._life, theirs, supervisor):
            each.close()

    asyncio.run(scene())
