"""The authority's reactions with time in the hand of the test, and no process."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from hosts.authority_host import ADMIN, Client

from tlsrt.channels.clock import Moment
from tlsrt.config import door_places, key_schedule
from tlsrt.config.access import PolicyRule
from tlsrt.config.door import DoorConfig
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.authority.clients.sessions import PUSHES_PER_ROUND
from tlsrt.supervisor.authority.door.operators import DoorOperators
from tlsrt.supervisor.authority.incoming_events import PAGES
from tlsrt.supervisor.authority.model.client_registry import Enrolled
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.authority.primary_messages import TURNED_AWAY
from tlsrt.supervisor.authority.sessions.manager import MAXIMUM_LIFE_MS


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    return FakeAuthorityService(tmp_path, store)


def test_tokens_are_renewed_in_time_for_hours(stage: FakeAuthorityService) -> None:
    stage.join(THIRD)
    stage.pass_time(3_600_000)
    sessions = stage.of("third", "session")
    assert len({fields[2] for fields in sessions}) == 1  # renewal keeps the session
    assert len({fields[7] for fields in sessions}) == len(sessions) > 100
    expiries = [fields[8] for fields in sessions]
    assert max(later - earlier for earlier, later in itertools.pairwise(expiries)) < 40_000


def test_after_eight_hours_a_component_has_a_new_session(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY, THIRD)
    first = stage.of("third", "session")[0]
    stage.pass_time(MAXIMUM_LIFE_MS - 60_000)
    stage.said.clear()
    stage.pass_time(120_000)
    sessions = stage.of("third", "session")
    assert first[2] not in {fields[2] for fields in sessions[-2:]}
    successor = sessions[-1][2]
    rights = {entry[0]: entry[2] for fields in stage.of("third", "rights") for entry in fields[2]}
    root = key_schedule.mailbox_root(b"r" * 32, "secondary/store", 5, 2)
    assert rights["secondary/store"] == key_schedule.request_key(root, successor)
    stage.told.clear()
    stage.provisioner.beat(0)
    assert stage.told[-1][3] == {"primary": 1, "secondary": 1, "third": 1}


def test_revocation_is_on_the_disk_and_told_to_all(stage: FakeAuthorityService, store: int) -> None:
    stage.join(PRIMARY, THIRD)
    session = stage.of("third", "session")[0][2]
    stage.revocations.revoke_session(session, stage.moment)
    for loop in ("primary", "third"):
        assert ("session", session) in [fields[1:] for fields in stage.of(loop, "revoked")]
    stored = StateFile(store).load()
    assert stored.is_revoked("session", session)
    stage.dispatcher.tick(Moment(stage.now + 500, stage.wall))
    assert stage.of("third", "feed")[-1][0] == stored.revocation == stage.of("third", "revoked")[-1][0]


def test_a_component_whose_session_was_revoked_has_another_at_once(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    old = stage.of("third", "session")[0]
    stage.said.clear()
    ended = stage.revocations.revoke_session(old[2], stage.moment)
    assert [session.session_id for session in ended] == [old[2]]
    assert [name for loop, name, _ in stage.said if loop == "third"] == ["revoked", "session", "rights"]
    new = stage.of("third", "session")[0]
    assert new[1] == old[1] and new[2] != old[2] and new[7] != old[7]
    stage.pass_time(120_000)
    assert {fields[2] for fields in stage.of("third", "session")} == {new[2]}


def test_a_revoked_subject_gets_nothing_more(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    client = Client(ADMIN)
    assert stage.open(1, client)[0][1] == "granted"
    session = stage.of("primary", "granted")[0][4]
    stage.revocations.revoke_subjects(["client/admin"], 0, stage.moment)
    assert stage.of("primary", "ended") == [(session,)]
    assert stage.open(2, Client(ADMIN))[0][1:] == ("refused", (2, "rejected"))
    assert "revoked" in stage.lines[-1]
    stage.revocations.revoke_subjects(["third/console"], 0, stage.moment)
    stage.ask("spawned", "third", 9)
    stage.said.clear()
    stage.join(("third", 9))
    assert stage.of("third", "welcome")
    assert stage.of("third", "session") == []


def test_when_the_disk_refuses_a_revocation_works_all_the_same(
    stage: FakeAuthorityService, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.join(THIRD)

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    stage.revocations.revoke_subjects(["third/console"], 0, stage.moment)
    assert ("subject", b"third/console") in [fields[1:] for fields in stage.of("third", "revoked")]
    assert stage.told[-1] == ("storage", "cannot write the authority's state: No space left on device")


def test_an_epoch_that_cannot_be_written_is_not_used(
    stage: FakeAuthorityService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage.join(THIRD)
    real = os.fsync

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    stage.changes.begin_timed(stage.now)
    assert {fields[0] for fields in stage.of("third", "epoch")} == {5}
    monkeypatch.setattr(os, "fsync", real)
    stage.pass_time(10_000)
    assert [fields[0] for fields in stage.of("third", "prepare")] == [5, 6]


def test_one_that_rests_has_no_feed_and_hears_the_rest_and_is_answered_behind_it(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    session = stage.of("primary", "session")[0][2] if stage.of("primary", "session") else b"s" * 16
    stage.hear("third", "rest")
    stage.said.clear()
    stage.pass_time(3_000)
    assert not stage.of("third", "feed") and stage.of("primary", "feed")
    stage.said.clear()
    stage.revocations.revoke_session(session, stage.moment)
    stage.hear("third", "wake")
    words = [name for loop, name, _ in stage.said if loop == "third"]
    assert words.index("revoked") < words.index("awake") and words.count("awake") == 1
    number, _, when = stage.of("third", "awake")[0]
    assert (number, when) == (stage.of("third", "revoked")[-1][0], stage.now)
    stage.pass_time(1_000)
    assert stage.of("third", "feed") and len(stage.of("third", "awake")) == 1


def test_one_that_rests_and_has_everything_said_anew_has_the_feed_again(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    stage.hear("third", "rest")
    stage.pass_time(1_000)
    stage.hear("third", "join")
    stage.said.clear()
    stage.pass_time(2_000)
    assert stage.of("third", "feed")


def test_one_without_keys_that_asks_after_a_rest_is_told_nothing(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY)
    stage.hear("third", "rest")
    stage.hear("third", "wake")
    assert not stage.of("third", "awake")


def test_a_flood_of_joins_is_answered_slowly_but_surely(stage: FakeAuthorityService) -> None:
    stage.join(THIRD)
    for _ in range(50):
        stage.hear("third", "join")
    assert len(stage.of("third", "welcome")) == 1
    stage.pass_time(1000)
    assert len(stage.of("third", "welcome")) == 2


def test_a_lost_loop_gets_keys_only_as_a_new_incarnation(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, THIRD)
    stage.provisioner.lost("third", stage.moment)
    stage.said.clear()
    stage.ask("attested", "third", 3, 5)
    stage.ask("attested", "third", 2, 5)
    assert stage.of("third", "welcome") == []


def test_an_unknown_loop_is_an_error_of_the_supervisor(stage: FakeAuthorityService) -> None:
    with pytest.raises(PeerError, match="unknown_loop"):
        stage.ask("attested", "nobody", 1, 5)


def test_a_resumed_authority_does_not_listen_before_it_has_spoken(tmp_path: Path, store: int) -> None:
    stage = FakeAuthorityService(tmp_path, store, resumed=True)
    assert not stage.provisioner.may_read("third")
    stage.ask("attested", "third", 3, 5)
    assert stage.provisioner.may_read("third")
    assert [name for loop, name, _ in stage.said if loop == "third"][-2:] == ["prepare", "feed"]
    stage.ask("attested", "primary", 1, 5)
    stage.hear("primary", "prepared", 5)
    stage.pass_time(1999)
    assert stage.of("primary", "commit") == []
    session = stage.of("third", "session")[0][2]
    stage.pass_time(1)
    assert stage.of("primary", "commit") == [(5, 5000)]
    assert stage.of("third", "commit") == [], "who is late is not told"
    assert session in {fields[2] for fields in stage.of("primary", "revoked")}, "and its session ends"
    late = {sentence.partition(":")[0] for name, word, sentence in _events(stage) if word == "unprepared"}
    assert late == {"secondary", "third"}


def test_clients_are_renewed_with_rising_numbers(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY)
    client = Client(ADMIN)
    stage.open(1, client)
    stage.pass_time(1_000_000)
    granted = stage.of("primary", "granted")
    assert len(granted) > 5
    issuer = stage.of("primary", "welcome")[0][2]
    contents = [client.read(issuer, list(fields)) for fields in granted]  # read() wants each number above the last
    assert len({content.session for content in contents}) == 1
    assert len({content.token for content in contents}) == len(contents)
    assert all(content.token_expires <= content.now + 300_000 for content in contents)


def test_a_client_session_ends_after_eight_hours_and_its_connection_with_it(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY)
    stage.open(1, Client(ADMIN))
    session = stage.of("primary", "granted")[0][4]
    stage.pass_time(MAXIMUM_LIFE_MS - 1)
    assert stage.of("primary", "ended") == []
    stage.pass_time(1)
    assert stage.of("primary", "ended") == [(session,)]


def test_pushes_to_many_clients_come_in_rounds_and_wait_for_primary(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY)
    count = PUSHES_PER_ROUND + 5
    for connection in range(count):
        stage.open(connection, Client(ADMIN))
    stage.said.clear()
    stage.join(SECONDARY)
    stage.blocked.add("primary")
    stage.dispatcher.tick(stage.moment)
    assert stage.of("primary", "granted") == []
    assert (stage.dispatcher.next_due() or 0) > stage.now  # no spinning
    stage.blocked.clear()
    stage.dispatcher.tick(stage.moment)
    assert len(stage.of("primary", "granted")) == PUSHES_PER_ROUND
    assert (stage.dispatcher.next_due() or 0) <= stage.now
    stage.dispatcher.tick(stage.moment)
    assert sorted(fields[0] for fields in stage.of("primary", "granted")) == list(range(count))


def test_the_number_of_client_sessions_is_bounded(tmp_path: Path, store: int) -> None:
    path = tmp_path / "none"
    door = DoorConfig("127.0.0.1", 0, path, path, path, max_connections=2)
    stage = FakeAuthorityService(tmp_path, store, door=door)
    stage.join(PRIMARY)
    most = 2 + door_places.OPERATORS
    words = [stage.open(connection, Client(ADMIN))[-1][1] for connection in range(most + 1)]
    assert words == [*["granted"] * most, "refused"]
    assert "too_many_sessions" in stage.lines[-1]
    assert stage.open(0, Client(ADMIN))[-1][1] == "granted"  # in place of the one that it had


def test_primary_is_told_who_may_operate_and_told_again_when_that_changes(stage: FakeAuthorityService) -> None:
    stage.dispatcher.tick(stage.moment)
    assert not stage.of("primary", "operators"), "there is no Primary"
    stage.join(PRIMARY)
    stage.dispatcher.tick(stage.moment)
    registry, certificates = (getattr(stage.the(DoorOperators), name) for name in ("_registry", "_certificates"))
    told = stage.of("primary", "operators")
    assert told and told[-1] == (sorted(certificates.operators()),)
    registry.put(Enrolled("deputy", (), http=False, ttl_ms=1000, added=0, may=("unlock",)))
    stage.dispatcher.tick(stage.moment)
    assert "client/deputy" in stage.of("primary", "operators")[-1][0]
    count = len(stage.of("primary", "operators"))
    stage.dispatcher.tick(stage.moment)
    assert len(stage.of("primary", "operators")) == count, "and not again for nothing"
    registry.remove("deputy")
    stage.dispatcher.tick(stage.moment)
    assert "client/deputy" not in stage.of("primary", "operators")[-1][0]


def test_a_policy_that_fits_no_token_is_refused_at_boot(tmp_path: Path, store: int) -> None:
    methods = tuple(f"method_{number}_{'x' * 60}" for number in range(250))
    policy = (PolicyRule("client/admin", "*/*", methods),)
    with pytest.raises(ConfigError, match="client/admin"):
        FakeAuthorityService(tmp_path, store, policy=policy)


def _events(stage: FakeAuthorityService) -> list[tuple[str, str, str]]:
    return [(item[0], item[1], item[2]) for item in stage.told if item[0] == "event"]


def test_primary_alone_says_who_was_turned_away_and_not_too_often(stage: FakeAuthorityService) -> None:
    notes = stage.new_notes()
    words = ["192.0.2.1", "handshake", 3]
    with pytest.raises(PeerError, match="not_primary"):
        stage.hear("third", "turned_away", *words)
    for _ in range(1000):
        stage.hear("primary", "turned_away", *words)
    page = notes.page(stage.now)
    assert page[0] == ["turned_away", "door", "handshake, 3 times, last from 192.0.2.1", {"count": 3}]
    assert len(page) == TURNED_AWAY


def test_events_wait_for_primary_in_a_bounded_number_and_end_with_it(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY)
    stage.blocked.add("primary")
    for number in range(100):
        stage.ask("events", [b"%d" % number])
    assert stage.of("primary", "events") == []
    stage.blocked.clear()
    stage.dispatcher.tick(stage.moment)
    for number in range(PAGES):
        assert len(stage.of("primary", "events")) == number + 1  # one at a time: a busy Primary is no hung one
        stage.hear("primary", "took_events")
    assert stage.of("primary", "events") == [([b"%d" % number],) for number in range(PAGES)]
    with pytest.raises(PeerError, match="not_primary"):
        stage.hear("third", "took_events")
    stage.ask("gone", "primary", PRIMARY[1])
    stage.ask("events", [b"to nobody"])
    assert len(stage.of("primary", "events")) == PAGES
