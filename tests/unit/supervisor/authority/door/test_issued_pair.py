"""What Primary is given of a CA's certificate, and when."""

from __future__ import annotations

from typing import Any, cast

from tlsrt.supervisor.authority.door.issued_pair import IssuedPair
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopTable


class Outgoing:
    """What Primary was told."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, loop: str, name: str, *fields: object, descriptors: object = ()) -> None:
        assert loop == GATE
        self.sent.append(name)


def pair_of(loops: LoopTable) -> tuple[IssuedPair, Outgoing]:
    outgoing = Outgoing()
    return IssuedPair(loops, cast("Any", outgoing), 1), outgoing


def test_primary_gets_the_private_key_with_the_door_and_not_before() -> None:
    loops = LoopTable([(GATE, ())])
    pair, outgoing = pair_of(loops)
    loops[GATE].reset(1)
    pair.set(b"certificate", b"key")
    pair.send()
    assert pair.is_served and outgoing.sent == []
    loops[GATE].attested, loops[GATE].wants_keys = 5, True
    pair.send()
    assert outgoing.sent == []
    loops[GATE].is_joined = True
    pair.send()
    assert outgoing.sent == ["issued"]
    pair.clear()
    assert outgoing.sent == ["issued", "issued_gone"]
