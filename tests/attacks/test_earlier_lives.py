"""Attacked sentence: a new Primary, recipient, sender or boot is a new incarnation; nothing of before is good.

Each of these ends with processes that count anew, so the host is this module's own and so are the tests' counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attackers.arena import STAGE, Arena, request_body
from hosts.running_host import RunningHost, running


@pytest.fixture(scope="module")
def lives(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **STAGE)


def executed_and_kept(arena: Arena) -> list[bytes]:
    """Return a frame that was executed and one that was held back."""
    executed, kept = arena.third.genuine(), arena.third.genuine()
    arena.third.send(executed)
    arena.total += 1
    arena.unharmed()
    return [executed, kept]


def test_replay_to_a_new_primary(lives: RunningHost) -> None:
    frames = executed_and_kept(Arena(lives))
    lives.respawn("primary")
    arena = Arena(lives)
    assert arena.total > 0, "the victim lived on, and would show a second execution"
    for frame in frames:
        arena.third.send(frame)
        arena.refused("stale_gate", told=["stale"])
    arena.settle()


def test_replay_to_a_new_recipient(lives: RunningHost) -> None:
    frames = executed_and_kept(Arena(lives))
    lives.respawn("secondary")
    arena = Arena(lives)
    assert arena.total == 0
    arena.provoked["primary"] = lives.loop("primary")["frames"]["refused"]
    for frame, reason, word in zip(frames, ("replay", "stale_mailbox"), ("rejected", "stale"), strict=True):
        arena.third.send(frame)
        arena.refused(reason, told=[word])
    arena.settle()


def test_replay_by_a_new_sender(lives: RunningHost) -> None:
    """The loop was killed, and with it its session: what its next life finds or remembers of it is worthless."""
    old = Arena(lives)
    frames, header, held = executed_and_kept(old), old.third.header(), old.third.session()
    lives.respawn("third")
    arena = Arena(lives)
    arena.provoked["primary"] = lives.loop("primary")["frames"]["refused"]
    frames.append(
        arena.third.forge(
            header._replace(seq=1 << 20), request_body(1), token=held["token"], proof_key=held["proof_key"]
        )
    )
    for frame in frames:
        arena.third.send(frame)
        arena.refused("revoked", told=["rejected"])
    arena.settle()


def test_replay_after_a_restart_with_the_same_master_key(lives: RunningHost) -> None:
    old = Arena(lives)
    frames, token = executed_and_kept(old), old.third.token
    boot = lives.status()["supervisor"]["boot"]
    lives.restart()
    assert lives.status()["supervisor"]["boot"] != boot
    arena = Arena(lives)
    for frame in frames:
        arena.third.send(frame)
        arena.refused("stale_epoch", told=["stale"])
    arena.third.send(arena.third.forge(arena.third.header(), request_body(1), token=token))
    arena.refused("token_epoch", told=["rejected"])
    epoch = arena.third.session()["epoch"]
    disguised = token[:5] + epoch.to_bytes(8, "big") + token[13:]
    arena.third.send(arena.third.forge(arena.third.header(), request_body(1), token=disguised))
    arena.refused("token_forged", told=["rejected"])
    arena.settle()


def test_nothing_of_an_earlier_boot_is_in_a_later_one(lives: RunningHost) -> None:
    old = Arena(lives)
    secrets = set(old.third.loot["aes_keys"]) | {old.third.session()["mailbox_root"], old.third.token}
    lives.restart()
    arena = Arena(lives)
    secrets.discard(bytes(32))  # stands for no key, of a recipient that did not run yet
    assert not secrets & (
        set(arena.third.loot["aes_keys"]) | {arena.third.session()["mailbox_root"], arena.third.token}
    )
    assert old.third.session()["session"] != arena.third.session()["session"]
