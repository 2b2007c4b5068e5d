"""What Primary is given of a CA's certificate and of challenges, and when."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest

from tlsrt.supervisor.authority.door.issued_pair import IssuedPair
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopTable


class Outgoing:
    """What Primary was told."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.numbers: list[int] = []

    def send(self, loop: str, name: str, *fields: object, descriptors: object = ()) -> None:
        assert loop == GATE
        self.sent.append(name)
        self.numbers += [field for field in fields if isinstance(field, int)]


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


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_challenge_waits_for_the_door_and_is_shown_by_every_primary_until_it_is_hidden() -> None:
    loops = LoopTable([(GATE, ())])
    pair, outgoing = pair_of(loops)
    before, heard = descriptors(), list[str]()
    pair.show(b"certificate", b"key", heard.append)
    assert outgoing.sent == [] and heard == []
    loops[GATE].is_joined = True
    pair.send()
    assert outgoing.sent == ["show_challenge"]
    pair.tried(outgoing.numbers[0], "")
    assert heard == [""]
    pair.send()  # to the next Primary, for whose answer nothing waits
    assert outgoing.sent == ["show_challenge"] * 2 and len(set(outgoing.numbers)) == 1
    pair.tried(outgoing.numbers[0], "")
    assert heard == [""]
    pair.hide()
    pair.send()
    assert outgoing.sent == ["show_challenge"] * 2 + ["hide_challenge"]
    assert descriptors() == before


@pytest.mark.parametrize("name", ["show", "check"])
def test_what_two_primaries_have_died_of_is_not_sent_to_a_third_one(name: str) -> None:
    loops = LoopTable([(GATE, ())])
    pair, outgoing = pair_of(loops)
    before, heard = descriptors(), list[str]()
    loops[GATE].is_joined = True
    getattr(pair, name)(b"certificate", b"key", heard.append)
    for _ in range(3):
        pair.send()
    assert len(outgoing.sent) == 2 and heard == []
    pair.give_up("late")
    assert heard == ["late"] and descriptors() == before
    pair.tried(outgoing.numbers[0], "")
    assert heard == ["late"]


def test_a_challenge_that_cannot_be_shown_is_not_shown_by_the_next_primary() -> None:
    loops = LoopTable([(GATE, ())])
    pair, outgoing = pair_of(loops)
    before, heard = descriptors(), list[str]()
    loops[GATE].is_joined = True
    pair.show(b"certificate", b"key", heard.append)
    pair.tried(outgoing.numbers[0], "not a certificate")
    pair.send()
    assert (outgoing.sent, heard) == (["show_challenge"], ["not a certificate"]) and descriptors() == before
