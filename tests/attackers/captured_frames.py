"""What an attacker in Primary sees and holds: frames on their way, and keys."""

from __future__ import annotations

from collections.abc import Callable

from attackers.arena import IN_PRIMARY, THIEF, Arena, header_of
from tlsrt.channels.frames.frame import Header
from tlsrt.config import key_schedule


def deliver(arena: Arena, loop: str, *frames: bytes) -> None:
    """Put frames on a loop's wire past the gate."""
    arena.client.call(IN_PRIMARY, "deliver", loop, list(frames))


def seen(arena: Arena, wanted: Callable[[Header], bool]) -> list[bytes]:
    """Return the frames that Primary carried since the last time and that are wanted."""
    frames = [data for _, _, data in arena.client.call(IN_PRIMARY, "carried")]
    return [data for data in frames if wanted(header_of(data))]


def exchange(arena: Arena) -> tuple[bytes, bytes]:
    """Let third call the victim; return request and reply as Primary saw them."""
    seen(arena, lambda header: False)
    arena.third.send(arena.third.genuine())
    arena.total += 1
    arena.unharmed()
    arena.mark()
    frames = seen(arena, lambda header: THIEF in (header.src, header.dst))
    asked, answered = sorted(frames, key=lambda data: header_of(data).kind)
    return asked, answered


def stolen(arena: Arena) -> list[bytes]:
    """Return every AES key of Primary, and what can be derived from its roots for the thief's session."""
    loot = arena.client.call(IN_PRIMARY, "loot")
    roots = [*loot["gate_roots"].values(), *(held[-1]["mailbox_root"] for held in loot["sessions"].values())]
    session = arena.third.session()["session"]
    return [*loot["aes_keys"], *roots, *(key_schedule.request_key(root, session) for root in roots)]
