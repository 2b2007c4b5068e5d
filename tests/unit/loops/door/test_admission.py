"""Who finds a place at the door, and who loses it for that: the pools alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config import door_places
from tlsrt.loops.door.addresses import address_key, networks_of, plain_address
from tlsrt.loops.door.admission import KNOWN_S, Admission, AdmissionLimits
from tlsrt.loops.door.client_connection import STAGES, ConnectionStage
from tlsrt.loops.door.client_names import name_of_client
from tlsrt.loops.door.fair_pool import EARLY_RATE, LATE_S, Answer, FairPool, PoolLimits, Stage

HONEST = ("192.0.2.7",)


@dataclass
class Seat:
    """A connection, as far as its place is concerned."""

    heard: float = 0.0
    authenticated: bool = True


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"), ("", ""), ("what", "what"),
    ],
)  # fmt: skip
def test_address_key(host: str, key: str) -> None:
    assert address_key(host) == key


def test_networks_and_plain_addresses() -> None:
    assert networks_of("2001:db8:1:203::9") == ("2001:db8:1::/48", "2001:db8:1:200::/56", "2001:db8:1:203::/64")
    assert networks_of("::ffff:192.0.2.7") == networks_of("192.0.2.7") == ("192.0.2.7",)
    assert [plain_address(each) for each in ("::ffff:192.0.2.7", "fe80::1%eth0", "what")] == [
        "192.0.2.7", "fe80::1", "what"
    ]  # fmt: skip


def test_a_client_is_named_by_its_certificate_or_counts_for_itself() -> None:
    name = f"spiffe://tlsrt.{'0a' * 16}/client/phone"
    assert name_of_client([name], b"der") == "client/phone"
    for names in ([], [name, name], [name + "/"], ["https://example.org"]):
        assert name_of_client(names, b"der").startswith("certificate/")
    assert name_of_client([], b"der") != name_of_client([], b"another")


# -- strangers -------------------------------------------------------------------------------------------------


class Door:
    """Strangers that come to a pool, which cuts whom it likes."""

    def __init__(self, most: int = 256, silent: int = 16, grace_s: float = 2.5) -> None:
        self.pool = FairPool(PoolLimits(most, silent, grace_s), random.Random(1).random)
        self.most = most
        self.numbers = 0
        self.cut: list[int] = []
        self.since: dict[int, float] = {}

    def come(self, host: str, now: float = 0.0, stage: Stage = Stage.SILENT, share: int = 1) -> int:
        """Return the number of a newcomer, or 0 if it is refused."""
        path = networks_of(host)
        while (answer := self.pool.ask(path, now, share)).cut:
            self.pool.remove(answer.cut)
            self.cut.append(answer.cut)
        if answer.refused:
            return 0
        self.numbers += 1
        self.pool.add(self.numbers, path, now)
        self.since[self.numbers] = now
        if stage is not Stage.SILENT:
            self.pool.step(self.numbers, stage, now)
        assert len(self.pool) <= self.most
        return self.numbers


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("addresses", [256, 65_536])
def test_a_newcomer_finds_a_place_however_many_addresses_hold_one_each(addresses: int, stage: Stage) -> None:
    door = Door()
    for number in range(addresses):
        assert door.come(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0, stage)
    assert door.come(*HONEST, 0.1)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("bits", [8, 16])  # of a /56, which a household has, and of a /48
def test_a_network_with_many_addresses_displaces_only_itself(bits: int, stage: Stage) -> None:
    door = Door()
    honest = [door.come(f"192.0.2.{number}", 0.0, stage) for number in range(100)]
    neighbour = door.come("2001:db8:2::1", 0.0, stage)
    for number in range(min(1 << bits, 2000)):
        assert door.come(f"2001:db8:1:{number:x}::1", 0.0, stage)
    assert not set(door.cut) & {*honest, neighbour}
    assert door.come("2001:db8:2:1::1", 0.0, stage) and not set(door.cut) & {*honest, neighbour}


def test_within_a_network_the_greediest_part_makes_room() -> None:
    door = Door(most=8, silent=16)
    small = door.come("2001:db8:1:1::1")
    for _ in range(7):
        door.come("2001:db8:1:200::1")
    door.come("2001:db8:1:1::2")
    assert door.cut == [2] and small in door.pool


def test_the_silent_make_room_first_then_the_slow_and_the_oldest_of_each() -> None:
    door = Door(most=4)
    whole = [door.come(f"10.0.0.{number}", 0.0, Stage.WHOLE) for number in range(1)]
    partial = door.come("10.0.1.1", 0.0, Stage.PARTIAL)
    silent = [door.come(f"10.0.2.{number}", 0.0) for number in range(2)]
    assert door.come(*HONEST, 1.0, Stage.WHOLE) and door.cut == silent[:1]
    assert door.come("192.0.2.8", 1.0, Stage.WHOLE) and door.cut == silent
    assert door.come("192.0.2.9", 1.0, Stage.WHOLE) and door.cut == [*silent, partial] and whole[0] in door.pool


def test_an_address_at_its_limit_loses_its_oldest_silent_connection_and_not_the_newcomer() -> None:
    door = Door(silent=3)
    first, *_ = [door.come(*HONEST, float(number)) for number in range(3)]
    spoken = door.come(*HONEST, 3.0, Stage.WHOLE)
    assert door.cut == [first] and spoken
    assert door.come("192.0.2.8", 3.0) and door.cut == [first], "another has places of its own"
    limited = [door.come("192.0.2.9", now, share=2) for now in (3.0, 3.5)]
    assert door.cut == [first, limited[0]]
    assert all(door.come("192.0.2.10", 3.0) for _ in range(50)) and len(door.cut) == 2, "all at once are not late yet"


def test_an_address_may_have_many_that_have_spoken_and_is_refused_only_if_it_fills_the_pool_with_them() -> None:
    door = Door(most=64, silent=4, grace_s=2.0)
    assert all(door.come(*HONEST, 0.0, Stage.WHOLE) for _ in range(64)) and not door.cut
    assert door.come(*HONEST, 1.0, Stage.WHOLE) == 0, "those that are here are being served"
    assert door.come("192.0.2.8", 1.0, Stage.WHOLE) and len(door.cut) == 1, "another gets in all the same"
    door.cut.clear()
    oldest = min(number for number in range(1, 65) if number in door.pool)
    assert door.come(*HONEST, 3.0) and door.cut == [oldest], "one that takes too long makes room"


def test_one_that_has_sent_something_meanwhile_is_spared() -> None:
    pool = FairPool(PoolLimits(2, 16, 1.0), lambda: 0.0)
    for number in (1, 2):
        pool.add(number, (f"10.0.0.{number}",), 0.0)
    assert pool.ask(HONEST, 0.0) == Answer(cut=1) and pool.is_silent(1)
    pool.step(1, Stage.PARTIAL, 0.0)
    assert pool.ask(HONEST, 0.0) == Answer(cut=2)


def test_silent_ones_are_cut_early_the_likelier_the_fuller_it_is() -> None:
    chance = [0.0]
    pool = FairPool(PoolLimits(8, 16, 1.0), lambda: chance[0])
    for number in range(1, 5):
        assert pool.early(1.0) == 0
        pool.add(number, (f"10.0.0.{number}",), 0.0)
    chance[0] = EARLY_RATE + 0.01
    assert pool.is_busy and pool.early(1.0) == 0
    chance[0] = EARLY_RATE - 0.01
    assert pool.early(1.0) == 1 and pool.early(LATE_S / 2) == 0, "its first flight may still be on its way"
    for number in range(5, 9):
        pool.add(number, (f"10.0.0.{number}",), 0.0)
    chance[0] = 0.999
    assert pool.early(1.0) == 1


HOSTS = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", "2001:db8:1::1", "2001:db8:1:1::1", "2001:db8:2:100::1", "2001:db8:2::1"]
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "speak", "leave"]), HOSTS, st.integers(0, 30), st.sampled_from(Stage))
)


@given(STEPS, st.integers(1, 6), st.integers(1, 3))
def test_a_pool_is_bounded_and_counts_right_and_a_stranger_to_it_gets_in(
    steps: list[tuple[str, str, int, Stage]], most: int, silent: int
) -> None:
    door, held, now = Door(most, silent), dict[int, str](), 0.0
    for step, host, at, stage in steps:
        now += 0.1
        if step == "come" and (number := door.come(host, now)):
            held[number] = host
        for gone in door.cut:
            held.pop(gone, None)
        if held and step != "come":
            number = sorted(held)[at % len(held)]
            if step == "speak":
                door.pool.step(number, stage, now)
            else:
                door.pool.remove(number)
                del held[number]
        assert len(door.pool) == len(held) <= most and all(number in door.pool for number in held)
        late = [held[number] for number in held if door.pool.is_silent(number) and door.since[number] <= now - LATE_S]
        assert all(late.count(each) <= silent for each in late) or step != "come"
    before = dict(held)
    assert door.come("203.0.113.5", now), "an address that holds nothing is never refused"
    lost = [before[number] for number in before if number not in door.pool]
    assert len(lost) <= 1
    for number in [number for number in range(1, door.numbers + 1) if number in door.pool]:
        door.pool.remove(number)
    assert not len(door.pool) and not any(each.count or each.inside or each.ranks for each in door.pool._stages)


# -- clients ---------------------------------------------------------------------------------------------------


class Clients:
    """Clients that come to an admission, which cuts whom it likes."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.admission = Admission(limits, random.Random(1).random)
        self.numbers = 0
        self.cut: list[tuple[int, str]] = []

    def come(self, client: str, heard: float = 0.0, address: str = "192.0.2.7", *, authenticated: bool = True) -> int:
        """Return the number of a newcomer, or 0 if it is refused."""
        self.numbers += 1
        self.admission.add(self.numbers, address, 0.0)
        while (answer := self.admission.ask_as_client(client)).cut:
            self.admission.leave(answer.cut)
            self.cut.append((answer.cut, answer.greedy))
        if answer.refused:
            self.admission.leave(self.numbers)
            return 0
        seat = Seat(heard, authenticated)
        self.admission.verify(self.numbers, address, client, seat, 0.0, certificate=client.encode(), share=1)
        return self.numbers


def test_a_client_at_its_share_loses_the_one_that_is_idle_for_longest() -> None:
    clients = Clients(AdmissionLimits(connections=8, per_client=3))
    busy, idle, _ = (clients.come("client/low", heard) for heard in (9.0, 1.0, 5.0))
    assert clients.come("client/low", 9.0) and clients.cut == [(idle, "client/low")]
    half_open = clients.come("client/low", 10.0, authenticated=False)
    clients.come("client/low", 0.0)
    assert clients.cut[-1] == (half_open, "client/low") and busy, "one without a session goes first"


def test_the_greediest_client_makes_room_and_forty_others_get_in() -> None:
    clients = Clients(AdmissionLimits(connections=64, per_client=64))
    assert all(clients.come("client/low", float(number)) for number in range(64))
    assert all(clients.come(f"client/c{number}", 100.0) for number in range(40))
    assert {greedy for _, greedy in clients.cut} == {"client/low"} and len(clients.cut) == 40
    assert clients.come("client/low") and clients.cut[-1][1] == "client/low"


def test_operators_find_a_place_where_every_other_client_holds_one() -> None:
    clients = Clients(AdmissionLimits(connections=32))
    clients.admission.set_operators(["client/admin"])
    assert all(clients.come(f"client/c{number}") for number in range(32))
    assert clients.come("client/one_more") == 0 and not clients.cut
    assert all(clients.come("client/admin") for _ in range(door_places.OPERATORS)) and not clients.cut
    assert clients.come("client/one_more") == 0 and not clients.cut, "they are no one else's"
    clients.admission.set_operators(["client/admin", "client/deputy"])
    assert clients.come("client/deputy") and [greedy for _, greedy in clients.cut] == ["client/admin"]
    clients.admission.set_operators([])
    assert clients.come("client/admin") == 0 and len(clients.admission.clients) == 32 + door_places.OPERATORS


def test_a_connection_with_a_verified_certificate_counts_no_longer_for_its_address() -> None:
    clients = Clients(AdmissionLimits(unauthenticated=4, per_address=2, rate=1.0, burst=5.0))
    assert all(clients.come(f"client/c{number}") for number in range(40)), "of one address"
    assert clients.admission.unauthenticated == 0 and clients.admission.connections == 40
    assert all(clients.admission.may_come("192.0.2.7", 0.0) for _ in range(5)) and clients.admission.has_clients(
        "192.0.2.7", KNOWN_S - 1
    )
    assert not clients.admission.may_come("192.0.2.7", 0.0), "handshakes that prove nothing are counted"
    assert clients.admission.may_come("192.0.2.8", 0.0)
    assert not clients.admission.has_clients("192.0.2.8", 0.0)
    assert not clients.admission.has_clients("192.0.2.7", KNOWN_S)


def come(admission: Admission, certificate: bytes, address: str = "192.0.2.7", share: int = 1) -> bool:
    """Let client/low come once and go; return whether it was let in."""
    assert admission.may_come(address, 0.0, share)
    admission.add(1, address, 0.0)
    came = admission.verify(1, address, "client/low", Seat(), 0.0, certificate=certificate, share=share)
    admission.leave(1)
    return came


def test_a_client_may_not_come_too_often() -> None:
    admission = Admission(AdmissionLimits(rate=1.0, burst=2.0), random.random)
    assert [come(admission, b"one") for _ in range(3)] == [True, True, False]
    assert admission.may_come("192.0.2.7", 0.0) and not admission.may_come("192.0.2.7", 0.0), "its address pays then"


def test_a_certificate_that_was_stolen_uses_up_nothing_of_the_one_that_followed_it() -> None:
    admission = Admission(AdmissionLimits(rate=1.0, burst=5.0), random.random)
    assert not all(come(admission, b"superseded", "192.0.2.66") for _ in range(6))
    assert all(come(admission, b"new") for _ in range(5))


def test_what_an_address_that_is_limited_was_counted_with_is_given_back_whole() -> None:
    admission = Admission(AdmissionLimits(rate=1.0, burst=8.0), random.random)
    assert all(come(admission, b"%d" % number, share=4) for number in range(20))
    assert [admission.may_come("192.0.2.7", 0.0, 4) for _ in range(3)] == [True, True, False]


def test_enrolments_have_places_of_their_own() -> None:
    admission = Admission(AdmissionLimits(unauthenticated=2), random.random)
    for number in range(1, 4 * door_places.ENROLMENTS):
        address = f"10.0.{number // 8}.1"
        while (answer := admission.ask_to_stay(admission.enrolments, address, 0.0)).cut:
            admission.leave(answer.cut)
        assert not answer.refused
        admission.add(number, address, 0.0)
        admission.stay(admission.enrolments, number, address, 0.0)
    assert len(admission.enrolments) == door_places.ENROLMENTS and len(admission.strangers) == 0
    assert admission.ask("192.0.2.7", 0.0) == Answer() and not admission.ask_as_client("client/admin").refused


NAMES = st.sampled_from(["client/a", "client/b", "client/c"])


@given(st.lists(st.tuples(NAMES, st.integers(0, 9), st.booleans()), max_size=60), st.integers(1, 12))
def test_a_client_with_fewer_connections_gets_in_whatever_others_do(
    steps: list[tuple[str, int, bool]], per_client: int
) -> None:
    clients = Clients(AdmissionLimits(connections=12, per_client=per_client, rate=1e6, burst=1e6))
    for client, heard, leaves in steps:
        number = clients.come(client, heard)
        if leaves and number:
            clients.admission.leave(number)
        assert len(clients.admission.clients) <= 12 and not clients.admission.unauthenticated
    clients.cut.clear()
    assert clients.come("client/quiet"), "two of twelve places at least belong to the greediest"
    assert len(clients.cut) <= 1


def test_stages_lead_only_forwards() -> None:
    order = list(ConnectionStage)
    for (stage, event), following in STAGES.items():
        assert order.index(following) >= order.index(stage)
        assert event != "frame" or stage is ConnectionStage.GRANTED
