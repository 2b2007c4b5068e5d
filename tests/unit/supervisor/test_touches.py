"""The authority hears of touched decoys: whom it charges, how many it takes, and that it would hear at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.sealed_host import ADMIN, Client
from support.service_stage import PRIMARY, THIRD, Stage

from tlsrt.config.deception import DeceptionConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.deception.touches import BLIND_AFTER_MS, TOUCHES, TRY_EVERY_MS
from tlsrt.supervisor.event_notes import EventNotes
from tlsrt.supervisor.seams import Charge, ChargeKind, Detail, NoResponse

DECOY = ["secondary/vault", "get"]


class Tripped(NoResponse):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.charges: list[Charge] = []

    def trip(self, detector: str, charge: Charge, detail: Detail, now: int, wall: int) -> None:
        assert detector == "decoy" and detail["decoy"] == DECOY[0]
        self.charges.append(charge)


@pytest.fixture
def stage(tmp_path: Path, store: int) -> Stage:
    stage = Stage(tmp_path, store, deception=DeceptionConfig((DECOY[0],)))
    stage.service.response = Tripped()
    stage.join(PRIMARY, THIRD)
    return stage


def touch(stage: Stage, session: bytes, *words: str, loop: str = "primary") -> list[Charge]:
    stage.service.heard(loop, "touched", [session, *(words or DECOY)], stage.now, stage.wall)
    response: Any = stage.service.response
    charges: list[Charge] = response.charges
    return charges


def session_of(stage: Stage, owner: str) -> bytes:
    return next(session.session_id for session in stage.service.desk._manager if session.owner == owner)


def test_a_client_is_charged_by_its_session_and_a_component_by_its_process(stage: Stage) -> None:
    stage.open(1, Client(ADMIN))
    client = session_of(stage, "client")
    assert touch(stage, client) == [Charge(ChargeKind.SESSION, client.hex())]
    assert touch(stage, session_of(stage, "third"))[1:] == [Charge(ChargeKind.PROCESS, "third")]
    assert len(touch(stage, bytes(16))) == 2  # nobody: there is no such session


def test_only_primary_tells_and_not_too_often(stage: Stage) -> None:
    with pytest.raises(PeerError, match="not_primary"):
        touch(stage, bytes(16), loop="third")
    notes = EventNotes()
    stage.service.tell_of_sessions(notes)
    for _ in range(1000):
        touch(stage, session_of(stage, "third"))
    assert len([note for note in notes.page(stage.now) if note[0] == "decoy_touched"]) == TOUCHES


def secrets(stage: Stage) -> list[str]:
    return [fields[0] for fields in stage.of("primary", "try_decoy")]


def test_each_primary_is_tried_with_a_decoy_of_its_own_until_it_tells(stage: Stage) -> None:
    stage.pass_time(TRY_EVERY_MS * 2)
    first = secrets(stage)
    assert len(first) >= 2 and len(set(first)) == 1
    assert touch(stage, session_of(stage, "primary"), first[0], "describe") == []  # a trial charges nobody
    assert stage.told[-1] == ("decoys", "")
    stage.pass_time(TRY_EVERY_MS * 4)
    assert len(secrets(stage)) == len(first)
    stage.service.gone("primary", 1, stage.now, stage.wall)
    stage.service.spawned("primary", 7, stage.now, stage.wall)
    stage.join(("primary", 7))
    stage.pass_time(TRY_EVERY_MS * 2)
    assert len(set(secrets(stage))) == 2


def test_a_primary_that_does_not_tell_is_said_to_the_operator(stage: Stage) -> None:
    stage.pass_time(BLIND_AFTER_MS + TRY_EVERY_MS * 2)
    blind = [item for item in stage.told if item[0] == "decoys"]
    assert len(blind) == 1 and "Primary does not tell" in blind[0][1]
    touch(stage, bytes(16), secrets(stage)[-1], "describe")
    assert stage.told[-1] == ("decoys", "")


def test_without_decoys_nobody_is_tried(tmp_path: Path, store: int) -> None:
    stage = Stage(tmp_path, store, deception=DeceptionConfig())
    stage.join(PRIMARY)
    stage.pass_time(BLIND_AFTER_MS * 2)
    assert secrets(stage) == [] and not [item for item in stage.told if item[0] == "decoys"]
