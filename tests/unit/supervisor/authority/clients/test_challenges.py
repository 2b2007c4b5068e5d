from __future__ import annotations

import random

import pytest

from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.clients.challenges import CHALLENGE_MS, CHALLENGES_MAX, Challenges


@pytest.fixture
def challenges() -> Challenges:
    return Challenges(random.Random(3).randbytes)


def test_once_in_time_for_its_connection(challenges: Challenges) -> None:
    challenge = challenges.make(1, 0)
    challenges.use(1, challenge, CHALLENGE_MS - 1)
    with pytest.raises(PeerError, match="challenge_unknown"):
        challenges.use(1, challenge, 0)


def test_too_late(challenges: Challenges) -> None:
    challenge = challenges.make(1, 0)
    with pytest.raises(PeerError, match="challenge_expired"):
        challenges.use(1, challenge, CHALLENGE_MS)


@pytest.mark.parametrize("guess", [b"", b"x" * 32])
def test_a_wrong_guess_uses_it_up(challenges: Challenges, guess: bytes) -> None:
    challenge = challenges.make(1, 0)
    for value in (guess, challenge):
        with pytest.raises(PeerError, match="challenge_unknown"):
            challenges.use(1, value, 1)


def test_nothing_was_asked(challenges: Challenges) -> None:
    with pytest.raises(PeerError, match="challenge_unknown"):
        challenges.use(1, b"", 1)


def test_another_connection_and_an_earlier_one(challenges: Challenges) -> None:
    first = challenges.make(1, 0)
    with pytest.raises(PeerError):
        challenges.use(2, first, 1)
    second = challenges.make(1, 0)
    assert first != second
    with pytest.raises(PeerError):
        challenges.use(1, first, 1)


def test_the_table_is_bounded(challenges: Challenges) -> None:
    oldest = challenges.make(0, 0)
    for connection in range(1, CHALLENGES_MAX + 1):
        newest = challenges.make(connection, 0)
    assert len(challenges) == CHALLENGES_MAX
    with pytest.raises(PeerError):
        challenges.use(0, oldest, 1)
    challenges.use(CHALLENGES_MAX, newest, 1)
    challenges.clear()
    assert len(challenges) == 0
