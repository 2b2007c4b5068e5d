"""The authority hears of touched decoys: whom it charges, how many it takes, and that it would hear at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, THIRD, FakeAuthorityService
from fakes.ports import NoDetection
from hosts.authority_host import ADMIN, Client

from tlsrt.channels.clock import Moment
from tlsrt.config.deception import DeceptionConfig
from tlsrt.config.detection import DETECTORS
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.detection.decoys import (
    ACCESSES,
    BLIND_AFTER_MS,
    FOREIGN_ACCESSES,
    TRY_EVERY_MS,
    WARNED_MS,
    DecoyService,
)
from tlsrt.supervisor.authority.model.ports import Detail, SignalSource, SourceKind

DECOY = ["secondary/vault", "get"]
WANTED = {
    DECOY[0]: "decoy_component", "secondary/store": "decoy_method", "token 3": "canary_token",
    "path /.env": "decoy_path", "client 1": "canary_client", "endpoint": "decoy_endpoint", "file /x": "decoy_file",
}  # fmt: skip


class Tripped(NoDetection):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.sources: list[SignalSource] = []

    def trigger(self, detector: str, source: SignalSource, detail: Detail, moment: Moment) -> None:
        assert detector == WANTED[str(detail["decoy"])]
        self.sources.append(source)


def test_each_decoy_has_a_detector_that_the_configuration_knows() -> None:
    assert set(WANTED.values()) <= set(DETECTORS)


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    stage = FakeAuthorityService(tmp_path, store, deception=DeceptionConfig((DECOY[0],)))
    stage.the(DecoyService)._detection = Tripped()
    stage.join(PRIMARY, THIRD)
    return stage


def touch(stage: FakeAuthorityService, session: bytes, *words: str, loop: str = "primary") -> list[SignalSource]:
    stage.hear(loop, "decoy_accessed", session, *(words or DECOY))
    response: Any = stage.the(DecoyService)._detection
    sources: list[SignalSource] = response.sources
    return sources


def session_of(stage: FakeAuthorityService, owner: str) -> bytes:
    return next(session.session_id for session in stage.context.sessions if session.owner == owner)


def test_a_client_is_charged_by_its_session_and_a_component_by_its_channel(stage: FakeAuthorityService) -> None:
    stage.open(1, Client(ADMIN))
    client = session_of(stage, "client")
    assert touch(stage, client) == [SignalSource(SourceKind.SESSION, client.hex())]
    assert touch(stage, session_of(stage, "third"))[1:] == [SignalSource(SourceKind.CHANNEL, "third")]
    assert len(touch(stage, bytes(16))) == 2  # nobody: there is no such session


def test_what_is_used_is_charged_to_whoever_is_known_best(stage: FakeAuthorityService) -> None:
    stage.open(1, Client(ADMIN))
    client = session_of(stage, "client")

    def use(what: str, loop: str = "", session: bytes = b"", address: str = "") -> SignalSource | None:
        before = len(touch(stage, client, "secondary/store", "dump"))
        stage.hear("primary", "canary", what, loop, session, address)
        sources: list[SignalSource] = stage.the(DecoyService)._detection.sources  # type: ignore[attr-defined]
        return sources[before] if len(sources) > before else None

    assert use("token 3", "", client, "") == SignalSource(SourceKind.SESSION, client.hex())
    assert use("token 3", "third") == SignalSource(SourceKind.CHANNEL, "third")
    assert use("client 1", "", b"", "192.0.2.1") == SignalSource(SourceKind.ADDRESS, "192.0.2.1")
    assert use("endpoint", "", b"", "192.0.2.1") == SignalSource(SourceKind.ADDRESS, "192.0.2.1")
    assert use("path /.env", "", bytes(16), "") is None  # of a session that there is not
    assert use("foreign path /.env", "", client, "") is None  # a page of another site made its browser ask
    assert use("foreign token 3", "", b"", "192.0.2.1") is None
    assert use("token 3", "nowhere") is None  # of a loop that a reload has removed: its use is told, and not charged
    with pytest.raises(PeerError):
        stage.hear("primary", "canary", "anything", "", b"", "")


def test_one_plausible_word_of_a_client_that_operates_the_host_is_a_warning(stage: FakeAuthorityService) -> None:
    stage.open(1, Client(ADMIN))
    client = session_of(stage, "client")
    service = stage.the(DecoyService)
    service._rights = Operates()
    notes = stage.new_notes()
    assert touch(stage, client, "secondary/store", "dump") == []
    assert touch(stage, client, "secondary/store", "dump") == [], "the same mistake, made again"
    told = [note for note in notes.page(stage.now) if note[0] == "decoy_touched"]
    assert len(told) == 2 and "only warned" in str(told[0])
    charged = [SignalSource(SourceKind.SESSION, client.hex())]
    assert touch(stage, client, "secondary/vault", "get") == charged, "who tries another one looks around"
    stage.now += WARNED_MS
    assert touch(stage, client, "secondary/vault", "get") == charged, "hours later it may be one again"
    stage.hear("primary", "canary", "token 3", "", client, "")
    assert len(service._detection.sources) == 2, "a canary is no word at all"  # type: ignore[attr-defined]


class Operates:
    """The rights of a host whose clients all operate it."""

    def may(self, subject: str, what: str) -> bool:
        return what == "operate"


def test_the_supervisor_tells_of_files(stage: FakeAuthorityService) -> None:
    stage.ask("file_touched", "third", "/x")
    assert stage.the(DecoyService)._detection.sources == [SignalSource(SourceKind.PROCESS, "third")]  # type: ignore[attr-defined]


def test_only_primary_tells_and_not_too_often(stage: FakeAuthorityService) -> None:
    with pytest.raises(PeerError, match="not_primary"):
        touch(stage, bytes(16), loop="third")
    notes = stage.new_notes()
    for _ in range(1000):
        touch(stage, session_of(stage, "third"))
    assert len([note for note in notes.page(stage.now) if note[0] == "decoy_touched"]) == ACCESSES


def test_accesses_of_other_sites_hide_none_that_counts(stage: FakeAuthorityService) -> None:
    stage.open(1, Client(ADMIN))
    client = session_of(stage, "client")
    notes = stage.new_notes()
    for _ in range(10 * ACCESSES):
        stage.hear("primary", "canary", "foreign path /.env", "", client, "")
    assert len([note for note in notes.page(stage.now) if note[0] == "decoy_touched"]) == FOREIGN_ACCESSES
    assert touch(stage, client) == [SignalSource(SourceKind.SESSION, client.hex())]


def secrets(stage: FakeAuthorityService) -> list[str]:
    return [fields[0] for fields in stage.of("primary", "try_decoy")]


def test_each_primary_is_tried_with_a_decoy_of_its_own_until_it_tells(stage: FakeAuthorityService) -> None:
    stage.pass_time(TRY_EVERY_MS * 2)
    first = secrets(stage)
    assert len(first) >= 2 and len(set(first)) == 1
    assert touch(stage, session_of(stage, "primary"), first[0], "describe") == []  # a trial charges nobody
    assert stage.told[-1] == ("decoys", "")
    stage.pass_time(TRY_EVERY_MS * 4)
    assert len(secrets(stage)) == len(first)
    stage.ask("gone", "primary", 1)
    stage.ask("spawned", "primary", 7)
    stage.join(("primary", 7))
    stage.pass_time(TRY_EVERY_MS * 2)
    assert len(set(secrets(stage))) == 2


def test_a_primary_that_does_not_tell_is_said_to_the_operator(stage: FakeAuthorityService) -> None:
    stage.pass_time(BLIND_AFTER_MS + TRY_EVERY_MS * 2)
    blind = [item for item in stage.told if item[0] == "decoys"]
    assert len(blind) == 1 and "Primary does not report accesses" in blind[0][1]
    touch(stage, bytes(16), secrets(stage)[-1], "describe")
    assert stage.told[-1] == ("decoys", "")


def test_without_decoys_nobody_is_tried(tmp_path: Path, store: int) -> None:
    stage = FakeAuthorityService(tmp_path, store, deception=DeceptionConfig())
    stage.join(PRIMARY)
    stage.pass_time(BLIND_AFTER_MS * 2)
    assert secrets(stage) == [] and not [item for item in stage.told if item[0] == "decoys"]
