"""The operator's epochs, and those with another master_key, with time in the hand of the test and no process."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fakes.authority_service import PRIMARY, SECONDARY, THIRD, FakeAuthorityService
from hosts.authority_host import ADMIN, INSTALL, Client

from tlsrt.channels.session.verifier import Verifier
from tlsrt.config import key_schedule
from tlsrt.config.issuer_chain import PinnedIssuer, follow_untrusted, parse_chain_untrusted, state_successor
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.epoch_change import RETRY_MS
from tlsrt.supervisor.authority.keys.epochs import GRACE_MS
from tlsrt.supervisor.authority.keys.issuer import Issuer
from tlsrt.supervisor.authority.keys.key_ring import EpochKeySet, KeyRing
from tlsrt.supervisor.authority.master_key_rotation import NewKeys
from tlsrt.supervisor.authority.model.state import StateFile

LOOPS = (PRIMARY, SECONDARY, THIRD)


@pytest.fixture
def stage(tmp_path: Path, store: int) -> FakeAuthorityService:
    return FakeAuthorityService(tmp_path, store)


def new_keys(stage: FakeAuthorityService) -> NewKeys:
    present = stage.context.keys.newest.issuer
    version = present.key_version + 1
    issuer = Issuer(bytes([version]) * 32, version, present.install, present.boot, random.Random(7).randbytes)
    statement = state_successor(INSTALL, present.key_version, PinnedIssuer(version, issuer.public), present.sign)
    return NewKeys(
        EpochKeySet(bytes([version + 10]) * 32, issuer, bytes(32)),
        b"m" * 32,
        9,
        (*stage.state.succession, statement),
        bytes(32),
    )


def answer(stage: FakeAuthorityService, epoch: int, *loops: tuple[str, int]) -> None:
    for loop, incarnation in loops:
        stage.ask("attested", loop, incarnation, epoch)
        stage.hear(loop, "prepared", epoch)


def told(stage: FakeAuthorityService, name: str) -> list[tuple[Any, ...]]:
    return [said[1:] for said in stage.told if said[0] == name]


def said_to(stage: FakeAuthorityService, loop: str) -> list[tuple[str, tuple[Any, ...]]]:
    return [(name, fields) for at, name, fields in stage.said if at == loop]


def test_an_epoch_on_request_has_grace_and_is_told_when_all_have_it(stage: FakeAuthorityService, store: int) -> None:
    stage.join(*LOOPS)
    stage.changes.rotate(3, None, stage.now)
    assert StateFile(store).load().epoch == 6, "on the disk before anybody hears of it"
    assert stage.of("third", "prepare")[-1] == (6,)
    answer(stage, 6, PRIMARY, SECONDARY)
    assert told(stage, "rotated") == []
    stage.now += 40
    answer(stage, 6, THIRD)
    assert stage.of("third", "commit")[-1] == (6, GRACE_MS)
    assert told(stage, "rotated") == [(3, 6, 40, [], [])]


def test_an_epoch_on_request_does_not_wait_for_who_is_late(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.changes.rotate(3, None, stage.now)
    answer(stage, 6, PRIMARY, SECONDARY)
    stage.pass_time(2_500)
    assert told(stage, "rotated") == [(3, 6, 2_000, ["third"], [])]


@pytest.mark.parametrize("reads", [True, False])
def test_nobody_uses_an_epoch_before_the_gate_can_hear_who_was_looked_at(
    stage: FakeAuthorityService, reads: bool
) -> None:
    stage.join(*LOOPS)
    stage.changes.rotate(3, None, stage.now)
    stage.blocked.add("primary")
    answer(stage, 6, *LOOPS)
    stage.pass_time(1_000)
    assert stage.of("third", "commit")[-1][0] == 5
    if reads:
        stage.blocked.clear()
        stage.pass_time(10)
    else:  # it hangs, which is not the others' fault
        stage.pass_time(1_500)
    assert stage.of("third", "commit")[-1][0] == 6
    assert told(stage, "rotated")[0][1] == 6


def test_requests_wait_for_the_epoch_that_is_under_way(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.changes.begin_timed(stage.now)
    stage.changes.rotate(1, None, stage.now)
    assert stage.of("third", "prepare")[-1] == (6,)
    answer(stage, 6, *LOOPS)
    assert stage.of("third", "prepare")[-1] == (7,)
    assert told(stage, "rotated") == []
    answer(stage, 7, *LOOPS)
    assert told(stage, "rotated")[0][:2] == (1, 7)


def test_it_waits_for_the_move_of_a_reload(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    assert stage.hold(2)
    stage.changes.rotate(1, None, stage.now)
    assert stage.of("third", "prepare")[-1] == (5,)
    stage.changes.move(8, stage.now)
    answer(stage, 6, *LOOPS)
    assert told(stage, "moved") == [(8, 6)]
    answer(stage, 7, *LOOPS)
    assert told(stage, "rotated")[0][:2] == (1, 7)


def test_a_disk_that_refuses_changes_nothing(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.store.is_full = True
    stage.changes.rotate(1, None, stage.now)
    assert told(stage, "rotated")[0][:4] == (1, 0, 0, [])
    assert "make room on its disk" in told(stage, "rotated")[0][4][0]
    assert (stage.state.epoch, stage.of("third", "prepare")[-1]) == (5, (5,))


def test_new_keys_are_tried_again_when_the_disk_refuses(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.store.is_full = True
    stage.changes.rotate(1, new_keys(stage), stage.now)
    stage.store.is_full = False
    assert (stage.state.epoch, stage.state.key_version, stage.state.seal) == (5, 0, 0)
    assert stage.context.keys.newest.issuer.key_version == 1
    stage.pass_time(RETRY_MS + 1)
    assert stage.state.key_version == 2
    answer(stage, 6, *LOOPS)
    assert told(stage, "rotated")[0][:2] == (1, 6)


def test_new_keys_come_with_their_issuer_and_the_state(stage: FakeAuthorityService, store: int) -> None:
    stage.join(*LOOPS)
    stage.said.clear()
    new = new_keys(stage)
    stage.changes.rotate(1, new, stage.now)
    state = StateFile(store).load()
    assert (state.epoch, state.key_version, state.seal, state.succession) == (6, 2, 9, new.succession)
    heard = said_to(stage, "third")
    assert [name for name, _ in heard][:2] == ["welcome", "epoch"]
    assert heard[0][1][2:] == (new.keys.issuer.public, 2)
    assert heard[1][1] == (6, key_schedule.token_key(new.keys.run, 6), 1, b"", 2)
    token = stage.of("third", "session")[-1][7]
    assert token[1:5] == (2).to_bytes(4, "big")


def test_both_versions_verify_until_the_last_old_token_has_expired(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.open(1, Client(ADMIN))
    old = stage.of("third", "session")[-1][7]
    stage.pass_time(10_000)
    stage.changes.rotate(1, new_keys(stage), stage.now)
    answer(stage, 6, *LOOPS)
    epoch, grace_ms = stage.of("third", "commit")[-1]
    assert (epoch, grace_ms) == (6, 290_000), "a client has one of 300 s"
    assert told(stage, "keys")[-1] == (2, 290_000)
    verifier = Verifier()
    for fields in stage.of("third", "welcome"):
        verifier.welcome(*fields)
    for number, token_key, _, _, version in stage.of("third", "epoch"):
        verifier.add_epoch(number, token_key, version)
    new = stage.of("third", "session")[-1][7]
    assert verifier.tokens.verify_untrusted(old).epoch == 5
    assert verifier.tokens.verify_untrusted(new).epoch == 6
    assert set(verifier.tokens._issuers) == {1, 2}
    verifier.drop_epoch(5)
    assert set(verifier.tokens._issuers) == {2}, "an issuer key goes with its last epoch"
    with pytest.raises(PeerError, match="token_key_version"):
        verifier.tokens.verify_untrusted(old)
    assert verifier.tokens.verify_untrusted(new).epoch == 6


def test_the_next_epoch_leaves_the_older_version_five_seconds(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.changes.rotate(1, new_keys(stage), stage.now)
    answer(stage, 6, *LOOPS)
    assert stage.changes.overlap_ms(stage.now) == 60_000
    stage.changes.rotate(2, None, stage.now)
    answer(stage, 7, *LOOPS)
    assert stage.of("third", "commit")[-1] == (7, GRACE_MS)
    assert stage.changes.overlap_ms(stage.now) == GRACE_MS
    assert told(stage, "keys")[-1] == (2, GRACE_MS)


def test_a_client_hears_of_the_new_key_before_the_first_grant_that_it_signs(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    client, other = Client(ADMIN), Client(ADMIN)
    issuer = stage.context.keys.newest.issuer.public
    stage.open(1, client)
    client.read(issuer, list(stage.of("primary", "granted")[-1]))
    new = new_keys(stage)
    stage.changes.rotate(1, new, stage.now)
    stage.open(2, other)  # while the epoch is prepared: by the old key
    other.read(issuer, list(stage.of("primary", "granted")[-1]))
    assert stage.of("primary", "succession") == []
    stage.said.clear()
    answer(stage, 6, *LOOPS)
    stage.pass_time(100)
    names = [name for name, _ in said_to(stage, "primary")]
    assert names.index("succession") < names.index("granted")
    [[chain]] = stage.of("primary", "succession")
    pin = follow_untrusted(INSTALL, PinnedIssuer(1, issuer), parse_chain_untrusted(chain))
    assert pin == PinnedIssuer(2, new.keys.issuer.public)
    granted = {fields[0]: fields for fields in stage.of("primary", "granted")}
    for number, each in ((1, client), (2, other)):
        with pytest.raises(PeerError, match="grant_signature"):
            each.read(issuer, list(granted[number]))
        assert each.read(pin.key, list(granted[number])).epoch == 6


def test_a_primary_that_comes_during_a_rotation_names_no_key_that_does_not_sign_yet(
    stage: FakeAuthorityService,
) -> None:
    stage.join(*LOOPS)
    stage.changes.rotate(1, new_keys(stage), stage.now)
    stage.ask("spawned", "primary", 4)
    stage.said.clear()
    stage.hear("primary", "join")
    stage.ask("attested", "primary", 4, 6)
    versions = [fields[3] for fields in stage.of("primary", "welcome")]
    assert versions == [1, 2]
    assert [(fields[0], fields[4]) for fields in stage.of("primary", "epoch")] == [(5, 1), (6, 2)]
    assert stage.of("primary", "succession") == []
    answer(stage, 6, SECONDARY, THIRD, ("primary", 4))
    assert len(stage.of("primary", "succession")) == 1


def test_a_newcomer_after_a_rotation_gets_the_new_version_only(stage: FakeAuthorityService) -> None:
    stage.join(PRIMARY, SECONDARY)
    stage.changes.rotate(1, new_keys(stage), stage.now)
    answer(stage, 6, PRIMARY, SECONDARY)
    stage.hear("third", "join")
    stage.ask("attested", "third", 3, 6)
    assert [fields[3] for fields in stage.of("third", "welcome")] == [2]
    assert [(fields[0], fields[4]) for fields in stage.of("third", "epoch")] == [(6, 2)]


def test_the_ring_forgets_what_only_earlier_epochs_had() -> None:
    randomness = random.Random(1).randbytes
    first, second = (
        EpochKeySet(
            bytes([version]) * 32, Issuer(bytes([version]) * 32, version, b"i" * 16, b"b" * 16, randomness), bytes(32)
        )
        for version in (1, 2)
    )
    ring = KeyRing(first)
    ring.take(6, second)
    assert (ring.of(5), ring.of(6), ring.newest) == (first, second, second)
    ring.forget_before(5)
    assert ring.of(5) is first and first.run == b"\1" * 32
    ring.forget_before(6)
    assert ring.of(5) is ring.of(6) is second
    assert first.run == bytes(32), "wiped, wherever it still lies"
    assert second.run == b"\2" * 32


def test_the_old_issuer_key_does_not_make_a_token_of_a_new_epoch(stage: FakeAuthorityService) -> None:
    old = stage.context.keys.newest.issuer
    stage.join(*LOOPS)
    stage.changes.rotate(1, new_keys(stage), stage.now)
    answer(stage, 6, *LOOPS)
    verifier = Verifier()
    for fields in stage.of("third", "welcome"):
        verifier.welcome(*fields)
    for number, token_key, _, _, version in stage.of("third", "epoch"):
        verifier.add_epoch(number, token_key, version)
    session = next(iter(stage.context.sessions))
    session.tokens.clear()
    held_by_every_loop = key_schedule.token_key(stage.context.keys.of(6).run, 6)
    forged = old.token(session, 6, held_by_every_loop, {})
    with pytest.raises(PeerError, match="token_key_version"):
        verifier.tokens.verify_untrusted(forged)
    relabelled = forged[:4] + b"\2" + forged[5:]
    with pytest.raises(PeerError, match="token_forged"):
        verifier.tokens.verify_untrusted(relabelled)
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(stage.context.keys.newest.issuer.public).verify(old.sign(b"x"), b"x")


def test_a_rotation_without_keys_does_not_take_the_place_of_new_keys_that_wait(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.store.is_full = True
    stage.changes.rotate(1, new_keys(stage), stage.now)
    stage.store.is_full = False
    stage.changes.rotate(2, None, stage.now)
    stage.pass_time(RETRY_MS + 1)
    assert stage.state.key_version == 2
    answer(stage, 6, *LOOPS)
    assert told(stage, "rotated")[-1][:2] == (2, 6)


def test_the_end_of_one_rotation_does_not_drop_the_next_one(stage: FakeAuthorityService) -> None:
    stage.join(*LOOPS)
    stage.store.is_held = True
    stage.changes.rotate(1, None, stage.now)
    stage.changes.rotate(2, new_keys(stage), stage.now)
    stage.store.is_full, stage.store.is_held = True, False
    stage.dispatcher.tick(stage.moment)
    stage.store.is_full = False
    stage.pass_time(RETRY_MS + 1)
    assert stage.state.key_version == 2
