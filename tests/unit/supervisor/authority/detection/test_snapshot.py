"""What is known of offences outlives the authority: scores, steps, and why somebody is in quarantine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from hosts.authority_host import ADMIN, Client
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.authority.detection.escalation import SHUT_FIRST_MS, Action, AppliedAction
from tlsrt.supervisor.authority.detection.scoring import GRACE_MS
from tlsrt.supervisor.authority.detection.service import WRITE_MS, DetectionService
from tlsrt.supervisor.authority.model.detection_snapshot import (
    MOST,
    TEXT_MAX,
    DetectionSnapshot,
    decode_snapshot,
    encode_snapshot,
)
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind
from tlsrt.supervisor.authority.model.state import AuthorityState, StateFile, decode_state, encode_state

STRANGER = "192.0.2.7"
OF_THIRD, OF_CONSOLE = SignalSource(SourceKind.CHANNEL, "third"), SignalSource(SourceKind.CHANNEL, "third/console")
TEXT, WHEN = st.text(max_size=TEXT_MAX), st.integers(0, 1 << 40)
CHARGE = st.builds(SignalSource, st.sampled_from(SourceKind), TEXT)
POINTS, FLAG = st.floats(0, 1e6), st.booleans()
TAKEN = st.builds(AppliedAction, st.sampled_from(Action), CHARGE, TEXT, TEXT, POINTS, WHEN, FLAG, FLAG)


def some(row: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(row, max_size=4).map(tuple)


def ordered(rows: st.SearchStrategy[Any], key: Callable[[Any], float]) -> st.SearchStrategy[Any]:
    """As they are written: the most important first."""
    return some(rows).map(lambda found: tuple(sorted(found, key=key)))


MEMORY = st.builds(
    DetectionSnapshot, WHEN, ordered(st.tuples(CHARGE, POINTS, TEXT), lambda row: -row[1]),
    ordered(TAKEN, lambda applied: -applied.until),
    some(st.tuples(st.sampled_from(Action), TEXT, WHEN, WHEN)), some(st.tuples(TEXT, WHEN)),
    some(st.tuples(TEXT, WHEN)),
    some(st.tuples(TEXT, TAKEN)), some(st.tuples(TEXT, WHEN)), some(st.tuples(TEXT, st.integers(-1, 9))),
)  # fmt: skip
ONE = encode_snapshot(DetectionSnapshot(
    5, ((OF_THIRD, 9.0, ""),), (AppliedAction(Action.LIMIT, OF_THIRD, "policy", "x", 20.0, 7),),
    ((Action.BLOCK, STRANGER, 1, 2),),
    (("third", 1),), (("third", 2),),
    (("third/console", AppliedAction(Action.QUARANTINE, OF_CONSOLE, "policy", "x", 100.0, 9)),),
    (("third", 3),), (("third", 4),),
))  # fmt: skip


@given(MEMORY)
def test_what_is_written_is_what_is_read(snapshot: DetectionSnapshot) -> None:
    state = AuthorityState(3, response=snapshot)
    assert decode_state(encode_state(state)) == state


def places(value: Any) -> int:
    return 1 + sum(places(each) for each in value) if isinstance(value, list) else 1


def replaced(value: Any, place: int, other: Any) -> Any:
    """Return a copy in which the list or scalar at one place, counted through, is another."""
    if place == 0:
        return other
    copy, place = [*value], place - 1
    for index, each in enumerate(copy):
        if place < places(each):
            copy[index] = replaced(each, place, other)
            return copy
        place -= places(each)
    raise AssertionError("no such place")


@pytest.mark.parametrize("other", [None, b"x", {"a": 1}, [[]], "\U0001f512"])
def test_anything_else_is_refused(other: Any) -> None:
    assert decode_snapshot(msgpack.unpackb(msgpack.packb(ONE))).at == 5
    for place in range(1, places(ONE)):
        changed = replaced(ONE, place, other)
        try:
            read = encode_snapshot(decode_snapshot(changed))
        except ValueError:
            continue
        assert read == changed, "a text may be another text"
    with pytest.raises(ValueError, match="not enough values"):
        decode_snapshot(ONE[:-1])


def test_what_is_written_is_bounded_and_the_lowest_is_left_out() -> None:
    scores = tuple((SignalSource(SourceKind.ADDRESS, str(n)), float(n), "") for n in range(2 * MOST))
    actions = tuple(AppliedAction(Action.BLOCK, source, "x", "y" * 999, 1.0, int(score)) for source, score, _ in scores)
    kept = decode_snapshot(encode_snapshot(DetectionSnapshot(1, scores, actions)))
    assert len(kept.scores) == len(kept.actions) == MOST
    assert min(score for _, score, _ in kept.scores) == MOST == min(applied.until for applied in kept.actions)
    assert len(encode_state(AuthorityState(response=DetectionSnapshot(1, scores, actions)))) < 1 << 18


def test_a_state_from_before_there_was_any_is_read() -> None:
    fields = msgpack.unpackb(encode_state(AuthorityState(7))[len(b"tlsrt-authority-state 2\n") + 32 :])
    assert fields.pop("response") == encode_snapshot(DetectionSnapshot())
    assert decode_snapshot([]) == DetectionSnapshot()


# With a service: one authority dies, and the next one is asked


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    return settled(FakeAuthorityService(tmp_path, store))


def settled(stage: FakeAuthorityService) -> FakeAuthorityService:
    stage.join(PRIMARY, SECONDARY, THIRD)
    stage.pass_time(GRACE_MS + 1000)
    return stage


def response(stage: FakeAuthorityService) -> DetectionService:
    found = stage.detection
    assert isinstance(found, DetectionService)
    return found


def killed(
    stage: FakeAuthorityService, store: int, tmp_path: Path, *, resumed: bool = True, now: int = 0
) -> FakeAuthorityService:
    """Return the stage of the next authority, which knows what lies on the disk."""
    stage.pass_time(0)
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    return FakeAuthorityService(folder, store, resumed=resumed, state=StateFile(store).load(), now=now or stage.now)


def signal(stage: FakeAuthorityService, detector: str, whom: SignalSource, points: int = 0) -> None:
    stage.detection.add(detector, whom, points, {"what": f"said of {detector}"}, stage.moment)


def test_scores_and_why_somebody_is_shut_out_are_known_to_the_next_authority(
    stage: FakeAuthorityService, store: int, tmp_path: Path
) -> None:
    signal(stage, "shape", OF_THIRD, 45)
    signal(stage, "decoy_method", OF_CONSOLE)
    after = killed(stage, store, tmp_path)
    known = response(after)
    assert known.scoring.score(OF_THIRD, after.now) == pytest.approx(response(stage).scoring.score(OF_THIRD, stage.now))
    shut = known.actions.quarantined["third/console"].applied
    assert (shut.detector, shut.what) == ("decoy_method", "said of decoy_method") and shut in known.scoring.active
    assert known.actions.quarantined_by(shut) == 1
    settled(after)
    assert after.told.count(("quarantine", ["third/console"])) == 1
    released: list[list[str]] = []
    known.release("third/console", after.moment, released.append, lambda sentence: None)
    assert released == [["third/console"]]
    assert "third/console" not in after.revocations.subjects()
    assert killed(after, store, tmp_path).state.response.quarantined == ()


def test_two_halves_of_an_attack_around_a_kill_are_one(stage: FakeAuthorityService, store: int, tmp_path: Path) -> None:
    signal(stage, "shape", OF_THIRD, 45)
    after = killed(stage, store, tmp_path)
    signal(after, "shape", OF_THIRD, 10)
    assert response(after).scoring.score(OF_THIRD, after.now) > 50


def test_a_session_goes_on_with_the_points_of_the_one_that_died_with_the_authority(
    stage: FakeAuthorityService, store: int, tmp_path: Path
) -> None:
    assert stage.open(1, Client(ADMIN))[0][1] == "granted"
    (session,) = [each for each in stage.context.sessions if each.subject == "client/admin"]
    signal(stage, "shape", SignalSource(SourceKind.SESSION, session.session_id.hex()), 45)
    after = settled(killed(stage, store, tmp_path))
    assert after.open(1, Client(ADMIN))[0][1] == "granted"
    (session,) = [each for each in after.context.sessions if each.subject == "client/admin"]
    signal(after, "shape", SignalSource(SourceKind.SESSION, session.session_id.hex()), 10)
    assert after.context.sessions.find(session.session_id) is None, "45 and 10 end a session"


def test_a_block_goes_on_growing_and_primary_is_told_of_it_when_it_comes_again(
    stage: FakeAuthorityService, store: int, tmp_path: Path
) -> None:
    stranger = SignalSource(SourceKind.ADDRESS, STRANGER)
    signal(stage, "tls_garbage", stranger, 60)
    after = settled(killed(stage, store, tmp_path))
    assert [fields[0] for fields in after.of("primary", "restrict")] == ["block"]
    (block,) = [applied for applied in response(after).scoring.active if applied.action is Action.BLOCK]
    after.pass_time(block.until - after.now)
    signal(after, "tls_garbage", stranger, 60)
    (block,) = [applied for applied in response(after).scoring.active if applied.action is Action.BLOCK]
    assert block.until - after.now > 1.5 * SHUT_FIRST_MS


def test_strangers_cause_no_write_before_they_are_blocked_and_others_one_a_second(
    stage: FakeAuthorityService, store: int, tmp_path: Path
) -> None:
    path = tmp_path / "authority.state"

    def written() -> int:
        stage.pass_time(0)
        return path.stat().st_ino

    signal(stage, "shape", OF_THIRD, 5)
    before = written()
    signal(stage, "tls_garbage", SignalSource(SourceKind.ADDRESS, STRANGER), 30)
    assert written() == before
    seen = {written()}
    for _ in range(20):
        signal(stage, "shape", OF_THIRD, 1)
        stage.pass_time(WRITE_MS // 10)
        seen.add(written())
    assert len(seen) <= 4


def test_another_host_begins_with_other_processes_and_the_quarantine_of_the_old_ones_ends(
    stage: FakeAuthorityService, store: int, tmp_path: Path
) -> None:
    signal(stage, "shape", SignalSource(SourceKind.PROCESS, "third"), 90)
    assert "third/console" in response(stage).actions.quarantined
    after = killed(stage, store, tmp_path, resumed=False)
    assert response(after).scoring.score_of_loop("third", after.now) <= 40
    assert "third/console" in response(after).actions.quarantined
    settled(after)
    assert "third/console" not in response(after).actions.quarantined


def test_after_a_boot_of_the_machine_nothing_has_faded_and_no_step_is_in_force(
    stage: FakeAuthorityService, store: int, tmp_path: Path
) -> None:
    signal(stage, "bad_tag", SignalSource(SourceKind.ADDRESS, STRANGER), 60)
    signal(stage, "decoy_method", OF_CONSOLE)
    after = killed(stage, store, tmp_path, resumed=False, now=1000)
    assert response(after).scoring.score(OF_CONSOLE, 1000) == pytest.approx(100)
    assert response(after).scoring.active == ()
    assert 1000 < response(after).actions.quarantined["third/console"].applied.until < 80_000
