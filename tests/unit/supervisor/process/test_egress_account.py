"""Budgets of egress rules: what is counted, refused and kept."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.budgets import BudgetConfig
from tlsrt.config.name_rules import parse_rule
from tlsrt.config.needs import EgressConfig
from tlsrt.supervisor.process.egress_account import DAY_S, Denial, EgressAccount, EgressUses

RULE, OTHER = parse_rule("192.0.2.7:443"), parse_rule("example.org:443")


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now, self.wall = 1000.0, 20000.0 * DAY_S + 60
        self.denials: list[Denial] = []
        self.asked = 0
        self.uses = EgressUses(lambda: self.now, lambda: self.wall)
        self.uses.listen(self._ask, lambda: None, lambda account, denial: self.denials.append(denial))

    def _ask(self) -> None:
        self.asked += 1

    def account(self, **budget: int) -> EgressAccount:
        self.uses.follow({"third.x": [EgressConfig((RULE,), "the broker", budget=BudgetConfig(**budget))]})
        return self.uses.of("third.x")


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made = [socket.socket() for _ in range(8)]
    yield made
    for one in made:
        one.close()


def test_connections_of_a_minute_are_counted_within_any_sixty_seconds(sockets: list[socket.socket]) -> None:
    time = Time()
    account = time.account(per_minute=2)
    assert [account.take(RULE, one) for one in sockets[:3]] == [True, True, False]
    time.now += 59.9
    assert not account.take(RULE, sockets[3])
    time.now += 0.1
    assert account.take(RULE, sockets[4])
    assert [one.sentence for one in time.denials] == ["the broker: per_minute is 2"] * 2
    assert account.denied == 2


def test_a_socket_that_is_open_is_no_second_one_and_the_kernel_is_asked_at_the_limit(
    sockets: list[socket.socket],
) -> None:
    time = Time()
    account = time.account(at_once=1)
    assert account.take(RULE, sockets[0]) and account.take(RULE, sockets[0])  # a datagram socket that turns elsewhere
    assert time.asked == 0
    assert not account.take(RULE, sockets[1])
    assert [time.asked] == [1]
    account.entries[0].open.clear()
    assert account.take(RULE, sockets[1])


def test_bytes_are_those_of_the_day_and_a_clock_set_back_gives_none_again(sockets: list[socket.socket]) -> None:
    time = Time()
    account = time.account(sent_mb_per_day=1)
    assert account.take(RULE, sockets[0])
    (use,) = account.entries
    (cookie,) = use.open
    for total in (1 << 19, (1 << 20) - 1):
        use.carried(cookie, total, 7, time.wall)
    assert use.sent == (1 << 20) - 1 and use.received == 7 and account.take(RULE, sockets[1])
    use.carried(cookie, 1 << 20, 7, time.wall)
    use.carried(cookie, 12, 0, time.wall)  # the kernel counts up only
    assert use.sent == 1 << 20 and not account.take(RULE, sockets[2])
    time.wall -= DAY_S
    assert not account.take(RULE, sockets[2])
    time.wall += 2 * DAY_S
    assert account.take(RULE, sockets[2])


def test_a_rule_without_a_budget_has_none(sockets: list[socket.socket]) -> None:
    time = Time()
    account = time.account()
    assert all(account.take(RULE, one) for one in sockets) and account.take(OTHER, sockets[0])
    assert account.entries[0].connections == len(sockets)


def test_use_goes_on_over_a_reload_that_leaves_the_rules(sockets: list[socket.socket]) -> None:
    time = Time()
    account = time.account(per_minute=1)
    assert account.take(RULE, sockets[0])
    assert time.account(per_minute=2) is account and account.take(RULE, sockets[1])
    assert not account.take(RULE, sockets[2])
    time.uses.follow({"third.x": [EgressConfig((OTHER,), "another", budget=BudgetConfig(1))]})
    assert account.take(OTHER, sockets[3])
    time.uses.follow({})
    assert not account.entries


def test_bytes_outlive_the_supervisor() -> None:
    time = Time()
    (use,) = time.account(received_mb_per_day=1).entries
    use.turn(time.wall)
    use.received = 1 << 20
    kept = time.uses.kept()
    after = Time()
    (again,) = after.account(received_mb_per_day=1).entries
    after.uses.restore(kept)
    assert again.over_bytes(after.wall) == "received_mb_per_day"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_file_that_is_none_of_ours_gives_nothing(kept: object) -> None:
    time = Time()
    (use,) = time.account(received_mb_per_day=1).entries
    for wrong in (kept, {"third.x": kept}, {"third.x": {use.key: kept}}, {"third.x": {use.key: [10**9, 0, 1 << 30]}}):
        time.uses.restore(wrong)
        assert not use.over_bytes(time.wall)
