"""What lets somebody in is refused without a record; what shuts somebody out is done all the same, and says so."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from fakes.ports import NoRecorder
from hosts.authority_host import ADMIN, Client

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AuditedMessage, CheckpointedMessage, UnrecordedMessage
from tlsrt.supervisor.audit.recorder import OPERATOR, Patience
from tlsrt.supervisor.audit.verify import Anchor
from tlsrt.supervisor.authority.model.ports import Detail, Otherwise, Then
from tlsrt.supervisor.cli.status import audit_lines
from tlsrt.supervisor.control.audit_heads import AuditHeads, anchors_in, line_of

SENTENCE = "the audit log cannot be written (No space left on device)"


class Disk(NoRecorder):
    """A recorder whose disk answers when the test says so."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.noted: list[tuple[str, str]] = []
        self.waiting: list[tuple[Then, Otherwise]] = []
        self.is_full = False

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        self.noted.append((kind, subject))

    def before(
        self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise,
        patience: Patience = OPERATOR,
    ) -> None:  # fmt: skip
        self.kinds.append(kind)
        if self.is_full:
            otherwise(SENTENCE)
        else:
            self.waiting.append((then, otherwise))

    def write(self) -> None:
        waiting, self.waiting = self.waiting, []
        for then, _ in waiting:
            then()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[FakeAuthorityService]:
    store = os.open(tmp_path, os.O_RDONLY)
    stage = FakeAuthorityService(tmp_path, store)
    stage.join(PRIMARY, SECONDARY, THIRD)
    yield stage
    os.close(store)


@pytest.fixture
def disk(stage: FakeAuthorityService) -> Disk:
    disk = Disk()
    stage.recorder.target = disk
    return disk


def asked(stage: FakeAuthorityService, name: str, *fields: Any) -> list[tuple[Any, ...]]:
    before = len(stage.told)
    stage.ask(name, 7, *fields)
    return stage.told[before:]


def answers(stage: FakeAuthorityService) -> list[tuple[Any, ...]]:
    return [told for told in stage.told if told[0] == "answer"]


def test_a_client_gets_nothing_before_its_record_is_written(stage: FakeAuthorityService, disk: Disk) -> None:
    assert stage.open(1, Client(ADMIN)) == [] and disk.kinds == ["session_opened"]
    stage.provisioner.clients.push_all()  # an epoch, a respawn: whoever is not in yet gets no grant by that either
    stage.dispatcher.tick(stage.moment)
    assert stage.of("primary", "granted") == []
    disk.write()
    assert len(stage.of("primary", "granted")) == 1
    stage.provisioner.clients.push_all()
    stage.dispatcher.tick(stage.moment)
    assert len(stage.of("primary", "granted")) == 2


def test_without_a_record_a_client_has_to_come_again_and_nothing_is_held_against_it(
    stage: FakeAuthorityService, disk: Disk
) -> None:
    disk.is_full = True
    assert [(name, fields) for _, name, fields in stage.open(1, Client(ADMIN))] == [("refused", (1, "busy"))]
    assert SENTENCE in stage.lines[-1] and stage.context.sessions.counts().get("client", 0) == 0
    assert [kind for kind, _ in disk.noted] == ["session_closed"]


@pytest.mark.parametrize("what", ["closed", "revoked"])
def test_who_has_gone_while_the_disk_wrote_gets_nothing(stage: FakeAuthorityService, disk: Disk, what: str) -> None:
    stage.open(1, Client(ADMIN))
    session = next(each for each in stage.context.sessions if each.owner == "client")
    if what == "closed":
        stage.hear("primary", "close", session.session_id)
    else:
        stage.revocations.revoke_session(session.session_id, stage.moment)
    disk.write()
    assert stage.of("primary", "granted") == []


def test_a_revocation_is_done_without_a_record_and_says_so(stage: FakeAuthorityService, disk: Disk) -> None:
    assert asked(stage, "revoke", "component", "secondary/store", 0) == []
    assert not stage.revocations.subjects()
    disk.write()
    assert stage.revocations.subjects() and answers(stage)[-1][2] == 0
    disk.is_full = True
    asked(stage, "revoke", "component", "third/console", 0)
    assert "third/console" in stage.revocations.subjects()
    assert ["unrecorded", SENTENCE] in answers(stage)[-1][4]
    asked(stage, "revoke", "all", "", 0)
    stage.pass_time(6000)
    assert ["unrecorded", SENTENCE] in answers(stage)[-1][4]


def test_nobody_is_restored_without_a_record(stage: FakeAuthorityService, disk: Disk) -> None:
    asked(stage, "revoke", "component", "secondary/store", 0)
    disk.write()
    disk.is_full = True
    asked(stage, "restore", "component", "secondary/store")
    assert "secondary/store" in stage.revocations.subjects()
    assert answers(stage)[-1][2:] == (3, 0, [f"{SENTENCE}, so nothing has changed"])
    disk.is_full = False
    asked(stage, "restore", "component", "secondary/store")
    disk.write()
    assert not stage.revocations.subjects()


def test_what_becomes_of_sessions_is_noted(stage: FakeAuthorityService, disk: Disk) -> None:
    stage.ask("gone", "third", 3)
    stage.join(("third", 4))
    assert ("session_revoked", "third/console") in disk.noted
    assert ("session_opened", "third/console") in disk.noted and ("keys_given", "third") in disk.noted


# Anchors


def test_heads_go_to_journald_and_are_read_again(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    context: Any = SimpleNamespace(
        current=SimpleNamespace(config=SimpleNamespace(install_id=bytes(16))), event_loop=SimpleNamespace(now=5.0)
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        said = AuditHeads(context, path).messages()
        said["checkpointed"](CheckpointedMessage(3, 40, b"\1" * 32, 99))  # nobody listens: nothing happens
        journal.bind(path)
        said["checkpointed"](CheckpointedMessage(3, 41, b"\2" * 32, 100))
        lines = journal.recv(4096).decode().splitlines()
    assert "SYSLOG_IDENTIFIER=tlsrt-audit" in lines
    assert anchors_in(["noise", *lines]) == [Anchor(3, 41, b"\2" * 32)]
    assert anchors_in([line_of(1, 2, 3, bytes(32))]) == [Anchor(1, 2, bytes(32))]


def test_status_says_in_one_line_how_the_log_stands_and_in_more_what_is_wrong() -> None:
    event_loop = SimpleNamespace(now=5.0)
    console = SimpleNamespace(bad=lambda *words: None, warning=lambda *words: None)
    config = SimpleNamespace(install_id=bytes(16), audit=SimpleNamespace(keep_mb=16))
    context: Any = SimpleNamespace(
        current=SimpleNamespace(config=config),
        event_loop=event_loop,
        console=console,
        events=SimpleNamespace(emit=lambda *words: None),
    )
    anchors = AuditHeads(context, "/nobody/listens")
    said = anchors.messages()
    assert anchors.document() is None and audit_lines(None) == []
    said["audited"](AuditedMessage(3, 100, 3 << 19, 0, ""))
    unsigned = "audit log: file 3, sequence 100, no signed head yet, 1.5 MiB of 16.0 MiB"
    assert audit_lines(anchors.document()) == [unsigned]
    said["checkpointed"](CheckpointedMessage(3, 41, bytes(32), 101))
    said["audited"](AuditedMessage(3, 101, 3 << 19, 0, ""))
    event_loop.now = 9.0
    assert audit_lines(anchors.document()) == [
        "audit log: file 3, sequence 101, signed up to 101 4 s ago, 1.5 MiB of 16.0 MiB"
    ]
    said["unrecorded"](UnrecordedMessage("its disk stalls"))
    said["audited"](AuditedMessage(3, 101, 3 << 19, 17, "its disk stalls"))
    assert audit_lines(anchors.document())[1:] == [
        "17 records were dropped, for which there was no room: the log says how many",
        "its disk stalls; until then no session is opened, no reload is taken",
    ]
    said["audited"](AuditedMessage(4, 5, 1 << 19, 0, ""))  # of another authority, which has recorded its boot
    assert anchors.document() == {
        "file": 4, "sequence": 5, "head": {"sequence": 101, "age_s": 4.0}, "dropped": 0, "problem": "",
        "bytes": 1 << 19, "keep_bytes": 16 << 20,
    }  # fmt: skip
