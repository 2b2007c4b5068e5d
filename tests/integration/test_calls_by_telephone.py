"""Telephones and browsers ring each other: a real baresip by external/sip, real Chromium by external/calls."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hosts.baresip import Baresip
from hosts.bridged_calls import SIP, TONE, BridgedCalls, bridged_calls
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, OTHER, TELEPHONE, Spoken, ring, until
from hosts.joined_networks import inside
from hosts.running_host import RunningHost

from tlsrt import Client, NotFound

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[BridgedCalls]:
    with bridged_calls(request, "bridged") as one:
        yield one


@pytest.fixture(scope="module")
def pages(made: BridgedCalls) -> Iterator[tuple[CallingBrowser, CallingBrowser]]:
    with inside(made.networks.peer):
        first, second = CallingBrowser(), CallingBrowser()
    with first, second:
        yield first, second


@pytest.fixture
def browsers(pages: tuple[CallingBrowser, CallingBrowser]) -> tuple[CallingBrowser, CallingBrowser]:
    for one in pages:
        one.fresh()
    return pages


@pytest.fixture
def host(made: BridgedCalls) -> RunningHost:
    return made.host


@pytest.fixture
def kitchen(made: BridgedCalls) -> Iterator[Baresip]:
    with made.kitchen() as one:
        yield one


def dial(kitchen: Baresip, number: str) -> None:
    kitchen.do("dial", f"sip:{number}@{kitchen.at};transport=tls")


def answer(client: Client, browser: CallingBrowser, call: str) -> Spoken:
    spoken = Spoken(client, "answer", call, browser.offer(1000))
    browser.accept(spoken.next("answered")["sdp"])
    spoken.next("connected")
    return spoken


def until_heard(browser: CallingBrowser, hertz: float) -> None:
    until(lambda: abs(browser.run("loudest()")["hertz"] - hertz) < 12)


def has_room(host: RunningHost) -> bool:
    with host.client() as admin:
        return bool(admin.call(SIP, "telephones")["kitchen"]["calls"] == 0)


def test_a_telephone_rings_a_person_who_answers_in_a_browser(
    host: RunningHost, kitchen: Baresip, browsers: tuple[CallingBrowser, CallingBrowser]
) -> None:
    with host.client("anna") as anna:
        watch = Spoken(anna, "watch")
        watch.next("waits")
        dial(kitchen, "anna")
        rung = watch.next("rings")
        assert (rung["by"], rung["number"], rung["says"].split()[0]) == (SIP, "anna", "kitchen"), rung
        spoken = answer(anna, browsers[0], rung["call"])
        kitchen.until_type("CALL_ESTABLISHED")
        until_heard(browsers[0], TONE)
        until(lambda: abs(kitchen.heard_hertz() - 1000) < 15)
        kitchen.do("hangup")
        assert spoken.next("ended")["why"] == "hung up"
    until(lambda: has_room(host))


def test_a_person_rings_a_telephone_and_a_lock_ends_it(
    host: RunningHost, kitchen: Baresip, browsers: tuple[CallingBrowser, CallingBrowser]
) -> None:
    with host.client("anna") as anna:
        spoken, _ = ring(anna, browsers[0], "kitchen")
        told = [spoken.next("answered", "connected") for _ in range(2)]  # either is the first
        assert {item["state"]: item.get("by") for item in told} == {"answered": SIP, "connected": None}, told
        until_heard(browsers[0], TONE)
        assert host.cli("lock").returncode == 0
        done_s = time.time()
    kitchen.until_type("CALL_CLOSED")
    until(lambda: time.time() * 1000 - browsers[0].run("all.lastAt") > 700)
    last_s = browsers[0].run("all.lastAt") / 1000
    print(f"sound for {last_s - done_s:.3f} s after the lock")
    assert last_s < done_s + 0.2
    assert host.cli("unlock").returncode == 0
    until(lambda: has_room(host))


def test_a_telephone_in_a_group_is_rung_by_its_own_name(host: RunningHost, kitchen: Baresip) -> None:
    with host.client() as admin:
        told = admin.call(OTHER, "ring", "all", 40, timeout_s=60)  # anna is away, the kitchen answers
        assert told["why"] == "" and abs(told["hertz"] - TONE) < 15, told
        until(lambda: has_room(host))
        told = admin.call(OTHER, "ring", "upstairs", 1, timeout_s=60)  # not by external/calls
        assert told["code"] == "Unavailable" and "away" in told["why"], told
    kitchen.until_type("CALL_CLOSED")


def test_of_a_group_of_two_people_the_first_to_answer_has_the_call(
    host: RunningHost, kitchen: Baresip, browsers: tuple[CallingBrowser, CallingBrowser]
) -> None:
    with host.client("anna") as anna, host.client("ben") as ben:
        watches = [Spoken(one, "watch") for one in (anna, ben)]
        for one in watches:
            one.next("waits")
        dial(kitchen, "family")
        first, second = (one.next("rings")["call"] for one in watches)
        assert first == second
        spoken = answer(ben, browsers[1], second)
        assert watches[0].next("over")["why"] == "answered"
        late = Spoken(anna, "answer", first, browsers[0].offer(500))
        assert late.next("closed") and isinstance(late.error, NotFound), late.error
        kitchen.until_type("CALL_ESTABLISHED")
        until_heard(browsers[1], TONE)
        until(lambda: abs(kitchen.heard_hertz() - 1000) < 15)
        ben.call(CALLS, "hang_up", second)
        assert spoken.next("ended")["why"] == "hung up"
        kitchen.until_type("CALL_CLOSED")
        [record, *_] = anna.call(CALLS, "calls")
        assert record["call"] == first and record["taken_by"] == "client/ben", record
    until(lambda: has_room(host))


def test_what_a_telephone_may_not_ring_it_does_not(host: RunningHost, kitchen: Baresip) -> None:
    """Its options say which numbers; `by` of a number says that the bridge may not; the policy is above both."""
    with host.client("anna") as anna, host.client() as admin:
        watch = Spoken(anna, "watch")
        watch.next("waits")
        for number, status in (("all", "403"), ("client.anna", "403"), ("closed", "480")):
            kitchen.events.clear()
            dial(kitchen, number)
            closed = kitchen.until_type("CALL_CLOSED")
            assert status in closed["param"], (number, closed)
        assert watch.items.empty()
        assert admin.call(TELEPHONE, "report")["rung"] == []
