"""Attacked sentence: expiry and epoch are checked on every message, by the gate and by the recipient.

The times are minutes, and no setting makes them shorter: so the supervisor of this host starts with smaller
constants. All else is as always: real processes, real clocks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attackers.arena import IN_PRIMARY, STAGE, VICTIM, Arena, request_body
from attackers.tls_peer import open_session, request
from hosts.running_host import RunningHost, running

TTL_MS = 2_000
SHORT_LIVES = f"""
from tlsrt.supervisor.authority.sessions import manager
manager.COMPONENT_TTL_MS = manager.CLIENT_TTL_MS = {TTL_MS}
"""
EPOCH_MS, GRACE_MS = 1_500, 300
SHORT_EPOCHS = f"""
from tlsrt.supervisor.authority import epoch_change
from tlsrt.supervisor.authority import provisioning
def _init(self, *arguments, real=provisioning.Provisioner.__init__):
    real(self, *arguments)
    self.changes.epoch_ms = {EPOCH_MS}
provisioning.Provisioner.__init__ = _init
epoch_change.GRACE_MS = {GRACE_MS}
"""


@pytest.fixture(scope="module")
def short_lives(request: pytest.FixtureRequest) -> Iterator[Arena]:
    for host in running(request, **{**STAGE, "prelude": STAGE["prelude"] + SHORT_LIVES}):
        yield Arena(host)


@pytest.fixture(scope="module")
def short_epochs(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **{**STAGE, "prelude": STAGE["prelude"] + SHORT_EPOCHS})


def test_an_expired_token(short_lives: Arena) -> None:
    arena = short_lives
    old = arena.third.session()
    with open_session(arena.host, "admin") as peer:
        arena.third.do("wait_until", max(old["token_expires"], peer.content.token_expires) + 1)
        arena.third.learn()
        arena.mark()
        assert arena.third.session()["session"] == old["session"]
        assert arena.third.token != old["token"], "it was renewed in time"
        arena.third.send(arena.third.forge(arena.third.header(), request_body(1), token=old["token"]))
        arena.refused("token_expired", told=["rejected"])
        arena.client.call(
            IN_PRIMARY, "deliver", "secondary",
            [arena.third.forge(arena.third.header(), request_body(1), token=old["token"])],
        )  # fmt: skip
        arena.refused("token_expired", by="secondary")
        peer.send(request(peer, VICTIM, "add", 1, request_body(1)))
        assert peer.frame() != b"", "it was told that it was refused"
        arena.refused("token_expired")
    arena.third.send(arena.third.genuine())
    arena.total += 1
    arena.refused(told=[])


def test_a_frame_of_the_epoch_before(short_epochs: RunningHost) -> None:
    arena = Arena(short_epochs)
    epoch, frame = arena.third.loot["epoch"], arena.third.genuine()
    forged = arena.third.header(), arena.third.token, arena.third.session()["proof_key"]
    while arena.third.loot["epoch"] == epoch:
        arena.third.learn()
    arena.third.do("wait_until", arena.third.loot["now"] + GRACE_MS + 100)
    arena.mark()
    arena.third.send(frame)
    arena.refused("stale_epoch", told=["stale"])
    header, token, proof_key = forged
    again = arena.third.forge(header._replace(seq=1 << 20), request_body(1), token=token, proof_key=proof_key)
    arena.client.call(IN_PRIMARY, "deliver", "secondary", [again])
    arena.refused("stale_epoch", by="secondary")
