"""An epoch that leaves no grace: from its commit on nothing of the one before is sent, taken or waited for."""

from __future__ import annotations

import asyncio

import pytest
from fakes.memory_host import MemoryHost, parts

from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.control.trust import TRUST
from tlsrt.channels.frames.frame import FrameKind
from tlsrt.config import key_schedule
from tlsrt.errors import PeerError, Stale
from tlsrt.loops.runtime.authority_client import AuthorityClient

NEXT = 8


@pytest.fixture
def world() -> MemoryHost:
    return MemoryHost()


def authority_client(world: MemoryHost, *subjects: str) -> AuthorityClient:
    return AuthorityClient(world.verifier, {subject: world.endpoints[subject] for subject in subjects}, None)


def tell(world: MemoryHost, authority: AuthorityClient, name: str, *fields: object) -> None:
    authority.on_message(name, TRUST.by_name[name].fields(*fields), [], world.now)


def prepare(world: MemoryHost, authority: AuthorityClient, subject: str) -> None:
    """Tell a loop the keys of the next epoch."""
    session, incarnation = world.session(subject), world.incarnations[subject.partition("/")[0]]
    root = key_schedule.gate_root(world.run, NEXT, world.incarnations["primary"])
    tell(world, authority, "epoch", NEXT, key_schedule.token_key(world.run, NEXT), 1, b"", 1)
    tell(
        world, authority, "session", NEXT, subject, session, incarnation, world.mailbox(subject, NEXT), 1,
        key_schedule.proof_key(root, session), world.token(subject, epoch=NEXT), world.now + 60_000,
        world.now + 8 * 3_600_000
    )  # fmt: skip


def test_a_recipient_takes_nothing_of_the_epoch_before(world: MemoryHost) -> None:
    store = world.endpoints["secondary/store"]
    authority = authority_client(world, "secondary/store")
    frames = [world.request() for _ in range(2)]
    prepare(world, authority, "secondary/store")
    store.open_untrusted(parts(frames[0]), world.header(frames[0]), world.now)
    tell(world, authority, "commit", NEXT, 0)
    with pytest.raises(PeerError, match="stale_epoch"):
        store.open_untrusted(parts(frames[1]), world.header(frames[1]), world.now)
    assert world.verifier.epochs == {NEXT}
    assert world.gate.check_untrusted(frames[1], world.origins["third"], world.now).reason == "stale_epoch"


def test_a_grace_that_runs_is_cut_short(world: MemoryHost) -> None:
    store = world.endpoints["secondary/store"]
    authority = authority_client(world, "secondary/store")
    frame = world.request()
    prepare(world, authority, "secondary/store")
    tell(world, authority, "commit", NEXT, 5_000)
    assert world.verifier.epochs == {world.epoch, NEXT}
    tell(world, authority, "commit", NEXT, 0)
    with pytest.raises(PeerError, match="stale_epoch"):
        store.open_untrusted(parts(frame), world.header(frame), world.now)


def test_calls_under_way_end_as_stale_and_idempotent_ones_are_sealed_anew(world: MemoryHost) -> None:
    asyncio.run(_calls_under_way(world))


async def _calls_under_way(world: MemoryHost) -> None:
    sent: list[bytes] = []
    console = world.endpoints["third/console"]
    caller = Caller(console, sent.append, lambda: world.now)
    authority = authority_client(world, "third/console")
    plain = asyncio.create_task(caller.call("secondary/store", "get"))
    keyed = asyncio.create_task(caller.call("secondary/store", "put", idempotency_key="one"))
    while len(sent) < 2:
        await asyncio.sleep(0)
    prepare(world, authority, "third/console")
    key = key_schedule.request_key(world.mailbox("secondary/store", NEXT), world.session("third/console"))
    tell(world, authority, "rights", NEXT, "third/console", [["secondary/store", 2, key, ["get", "put"]]])
    tell(world, authority, "commit", NEXT, 0)
    assert authority.stale_before == NEXT
    caller.pending.end_before(authority.stale_before)
    with pytest.raises(Stale):
        await plain
    while len(sent) < 3:
        await asyncio.sleep(0.001)
    again = world.header(sent[2])
    assert (again.kind, again.epoch, again.method) == (FrameKind.REQUEST, NEXT, "put")
    caller.pending.end_before(NEXT)
    assert not keyed.done(), "a call of the epoch that begins goes on"
    keyed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keyed


def test_after_a_timed_change_calls_go_on(world: MemoryHost) -> None:
    authority = authority_client(world, "third/console")
    prepare(world, authority, "third/console")
    tell(world, authority, "commit", NEXT, 5_000)
    assert authority.stale_before == 0
