"""What the authority does with `client set`: with certificates, without processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from fakes.ports import NoRecorder
from hosts.authority_host import Client
from hosts.enrolment import STORE, add, ask, is_let_in, ready, renew

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.trust import TRUST
from tlsrt.config.door import DoorConfig
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.audit.recorder import OPERATOR, Patience
from tlsrt.supervisor.authority.clients.admin import HTTP_MAY_NOT, NO_MAY
from tlsrt.supervisor.authority.model.client_registry import Registry, decode_registry, encode_registry
from tlsrt.supervisor.authority.model.ports import Detail, Otherwise, Then
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.messages.result_codes import ResultCode

BOTH = ["lock", "unlock"]
IO = [["third/console", ["notify", "list"]]]


class Recorder(NoRecorder):
    """Holds what is to be written first, until the test says that it is, or cannot be."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Detail, Then, Otherwise]] = []

    def before(
        self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise,
        patience: Patience = OPERATOR,
    ) -> None:  # fmt: skip
        self.waiting.append((kind, detail, then, otherwise))


def rights(stage: FakeAuthorityService, connection: int, client: Client) -> dict[str, tuple[str, ...]]:
    granted = [fields for _, name, fields in stage.open(connection, client) if name == "granted"]
    content = client.read(stage.context.keys.newest.issuer.public, granted[-1])
    return {right.target: tuple(right.methods) for right in content.rights}


def row(stage: FakeAuthorityService, name: str) -> list[Any]:
    return next(row for row in ask(stage, "client_list", "")[1] if row[1] == name)


def test_it_comes_again_and_may_do_what_was_said_and_nothing_else(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone")
    assert rights(stage, 1, phone) == {"secondary/store": ("describe", "get")}
    session = stage.of("primary", "granted")[-1][4]
    code, rows = ask(stage, "client_set", "phone", IO, 0, [])
    assert code == ResultCode.DONE and ["count", 1] in rows
    assert ("primary", "ended", (session,)) in stage.said
    told = [fields[2] for _, name, fields in stage.said if name == "revoked"]
    assert session in told, "every verifier refuses the session that might do other things"
    assert rights(stage, 2, Client(phone.issued)) == {"third/console": ("describe", "list", "notify")}
    assert row(stage, "phone")[5] == [["third/console", ["list", "notify"]]]


def test_what_is_said_already_ends_nobody(stage: FakeAuthorityService) -> None:
    assert is_let_in(stage, 1, add(stage, "phone"))
    for _ in range(2):
        code, rows = ask(stage, "client_set", "phone", STORE, 1, [])
        assert code == ResultCode.DONE and ["count", 0] in rows


def test_it_is_on_the_disk_before_it_is_answered_and_outlives_authority_and_certificate(
    stage: FakeAuthorityService, folder: int, tmp_path: Path
) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    assert ask(stage, "client_set", "phone", IO, 1, BOTH)[0] == ResultCode.DONE
    new = renew(stage, "phone")
    assert is_let_in(stage, 2, new)
    kept = StateFile(folder).load()
    assert (kept.enrolled["phone"].rules, kept.enrolled["phone"].may) == (
        (("third/console", ("list", "notify")),), ("lock", "unlock"),
    )  # fmt: skip
    (tmp_path / "other").mkdir()
    again = FakeAuthorityService(tmp_path / "other", folder, state=kept)
    again.wall = stage.wall
    again.join(PRIMARY, SECONDARY, THIRD)
    assert rights(again, 1, Client(new.issued)) == {"third/console": ("describe", "list", "notify")}
    assert row(again, "phone")[-1] == BOTH


def test_nothing_happens_before_it_is_recorded_and_nothing_if_it_cannot_be(stage: FakeAuthorityService) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    recorder = stage.recorder.target = Recorder()
    told = len(stage.told)
    stage.ask("client_set", 7, "phone", IO, 1, BOTH)
    assert len(stage.told) == told and stage.state.enrolled["phone"].may == ()
    ((kind, detail, then, otherwise),) = recorder.waiting
    assert (kind, detail) == ("client_changed", {"allow": "third/console: list, notify", "may": "lock, unlock"})
    otherwise("it cannot be written")
    assert stage.told[-1] == ("answer", 7, ResultCode.UNCHANGED, 0, ["it cannot be written"])
    assert stage.state.enrolled["phone"].rules == (("secondary/store", ("get",)),)
    assert not [name for _, name, _ in stage.said if name == "ended"]
    then()  # what the recorder never does: both
    assert row(stage, "phone")[-1] == BOTH


def test_who_is_revoked_meanwhile_gets_no_rights(stage: FakeAuthorityService) -> None:
    add(stage, "phone")
    recorder, stage.recorder.target = stage.recorder.target, Recorder()
    stage.ask("client_set", 7, "phone", IO, 1, BOTH)
    waiting, stage.recorder.target = stage.recorder.target.waiting, recorder
    assert ask(stage, "client_revoke", "phone")[0] == ResultCode.DONE
    waiting[0][2]()
    assert stage.told[-1][2] == ResultCode.REFUSED and stage.state.enrolled["phone"].may == ()


def test_what_the_disk_refuses_has_not_happened(stage: FakeAuthorityService, folder: int) -> None:
    phone = add(stage, "phone")
    assert is_let_in(stage, 1, phone)
    os.mkdir("authority.state.new", dir_fd=folder)  # so that nothing can be written there
    code, rows = ask(stage, "client_set", "phone", IO, 1, BOTH)
    assert code == ResultCode.UNCHANGED and "nothing has changed" in rows[0]
    os.rmdir("authority.state.new", dir_fd=folder)
    assert not [name for _, name, _ in stage.said if name == "ended"]
    assert row(stage, "phone")[5] == [["secondary/store", ["get"]]] and row(stage, "phone")[-1] == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (("admin", IO, 0, []), "lives and ends there"),
        (("nobody", IO, 0, []), "there is no client nobody"),
        (("phon", IO, 0, []), "there is no client phon, did you mean phone?"),
        (("gone", IO, 0, []), "is revoked already"),
        (("phone", [["secondary/shop", ["get"]]], 0, []), "there is no component secondary/shop"),
        (("phone", [["*/*", [f"m{n:060}" for n in range(200)]]], 0, []), "too much for one token"),
        (("phone", [], 1, ["lock", "reboot"]), NO_MAY),
        (("phone", [], 1, [["lock"]]), NO_MAY),
        (("phone", [], 1, ["lock", "unlock", "lock"]), NO_MAY),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    stage: FakeAuthorityService, fields: tuple[Any, ...], sentence: str
) -> None:
    add(stage, "phone")
    add(stage, "gone")
    ask(stage, "client_revoke", "gone")
    before = dict(stage.state.enrolled)
    code, rows = ask(stage, "client_set", *fields)
    assert code == ResultCode.REFUSED and sentence in rows[0]
    assert stage.state.enrolled == before


def test_who_may_use_http_may_lock_nothing(tmp_path: Path, folder: int) -> None:
    door = DoorConfig("127.0.0.1", 0, Path("c"), Path("k"), Path("a"), http=True)
    stage = ready(FakeAuthorityService(tmp_path, folder, door=door))
    add(stage, "browser", http=True)
    assert ask(stage, "client_set", "browser", [], 1, ["unlock"]) == (ResultCode.REFUSED, [HTTP_MAY_NOT])
    assert ask(stage, "client_set", "browser", IO, 1, [])[0] == ResultCode.DONE


def test_no_loop_has_a_word_for_it(stage: FakeAuthorityService) -> None:
    """Primary, captured or not, can neither widen what a client may do nor say that the operator did."""
    assert "client_set" not in stage.dispatcher._of_loops
    assert not {name for name in TRUST.by_name if name.startswith("client_")}
    with pytest.raises(PeerError, match=r"wrong_direction|unknown_message|bad_fields|wrong_state"):
        TRUST.decode_untrusted(AUTHORITY_CHANNEL.encode("client_set", 7, "phone", IO, 1, BOTH), "loop", "joined")


def test_a_state_of_before_is_read_and_a_bad_one_is_not(stage: FakeAuthorityService) -> None:
    add(stage, "phone")
    assert ask(stage, "client_set", "phone", [], 1, BOTH)[0] == ResultCode.DONE
    (item,) = encode_registry(stage.state.enrolled)
    assert decode_registry([item]) == stage.state.enrolled
    assert decode_registry([item[:7]])["phone"].may == ()
    assert Registry(decode_registry([item]), ["phone"]).may("client/phone", "lock") is False, "listed, so not enrolled"
    for may, http in ((["reboot"], False), ([1], False), (BOTH, True), ([*BOTH, "lock"], False)):
        bad = [*item[:2], http, *item[3:7], may]
        with pytest.raises(ConfigError, match="not a client"):
            decode_registry([bad])
