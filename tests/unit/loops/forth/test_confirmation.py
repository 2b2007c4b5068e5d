"""Confirmed actions: whose code it is, how long it lasts, and how often it may be guessed. Pure."""

from __future__ import annotations

import itertools

import pytest

from tlsrt.errors import Busy, Denied, NotFound
from tlsrt.loops.forth.confirmation import MOST, TRIES, VALID_S, Confirmations


@pytest.fixture
def waiting() -> Confirmations:
    numbers = itertools.count(1)
    return Confirmations(lambda: f"{next(numbers):08d}")


def test_a_code_does_it_once_for_who_has_asked(waiting: Confirmations) -> None:
    code = waiting.request("client/a", "suspend", 0)
    with pytest.raises(NotFound):
        waiting.confirm("client/b", code, 1)
    other = waiting.request("client/b", "reboot", 1)
    with pytest.raises(Denied):
        waiting.confirm("client/b", code, 2)
    assert waiting.confirm("client/a", code, 3) == "suspend"
    with pytest.raises(NotFound):
        waiting.confirm("client/a", code, 4)
    assert waiting.confirm("client/b", other, 5) == "reboot"


def test_it_ends_after_its_time_and_with_another_request(waiting: Confirmations) -> None:
    first = waiting.request("client/a", "suspend", 0)
    second = waiting.request("client/a", "reboot", 1)
    with pytest.raises(Denied):
        waiting.confirm("client/a", first, 2)
    with pytest.raises(NotFound):
        waiting.confirm("client/a", second, 1 + VALID_S)


def test_guesses_are_few(waiting: Confirmations) -> None:
    code = waiting.request("client/a", "suspend", 0)
    for _ in range(TRIES):
        with pytest.raises(Denied):
            waiting.confirm("client/a", "9" * 8, 1)
    with pytest.raises(NotFound):
        waiting.confirm("client/a", code, 1)


def test_requests_are_few(waiting: Confirmations) -> None:
    for number in range(MOST):
        waiting.request(f"client/{number}", "suspend", 0)
    waiting.request("client/0", "suspend", 0)
    with pytest.raises(Busy):
        waiting.request("client/x", "suspend", 1)
    waiting.request("client/x", "suspend", VALID_S)
