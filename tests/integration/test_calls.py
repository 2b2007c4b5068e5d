"""Calls on a real host: a real Chromium in another network namespace, components that are rung, and how calls end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attackers.arena import request_body, seal
from attackers.tls_peer import open_session
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, OTHER, TELEPHONE, Spoken, calling_host, ring, until
from hosts.joined_networks import JoinedNetworks, inside
from hosts.running_host import RunningHost

from tlsrt import Busy, NotFound, TlsrtError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")
Made = tuple[RunningHost, JoinedNetworks]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    with calling_host(request, "calls") as one:
        yield one


@pytest.fixture(scope="module")
def host(made: Made) -> RunningHost:
    return made[0]


@pytest.fixture(scope="module")
def page(made: Made) -> Iterator[CallingBrowser]:
    with inside(made[1].peer):
        one = CallingBrowser()
    yield one
    one.close()


@pytest.fixture
def browser(page: CallingBrowser) -> CallingBrowser:
    page.fresh()
    return page


def test_a_person_rings_a_component_and_both_hear(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("anna") as anna, host.client() as admin:
        begun_s = time.monotonic()
        spoken, call = ring(anna, browser)
        assert spoken.next("answered")["by"] == TELEPHONE
        spoken.next("connected")
        print("connected after", time.monotonic() - begun_s)
        until(lambda: admin.call(TELEPHONE, "report")["loud"] > 50)
        state = admin.call(TELEPHONE, "report")
        assert state["rung"][-1] == [call, "client/anna", "", "door"]
        assert abs(state["hertz"] - 1000) < 30
        until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
        browser.run("channel.send('open the door')")
        until(lambda: [2, "open the door"] in admin.call(TELEPHONE, "report")["others"])
        assert browser.run("all.texts") == ["welcome"]
        print(browser.run("received()"), state)
        anna.call(CALLS, "hang_up", call)
        assert spoken.next("ended")["why"] == "hung up"
        until(browser.closed_s)
        until(lambda: not admin.call(TELEPHONE, "report")["is_in"])
        assert host.loop("external.calls")["violations"] == 0


def lock(host: RunningHost) -> None:
    assert host.cli("lock").returncode == 0


def revoke_client(host: RunningHost) -> None:
    assert host.cli("revoke", "client", "anna").returncode == 0


def revoke_component(host: RunningHost) -> None:
    assert host.cli("revoke", "component", TELEPHONE).returncode == 0


def revoke_all(host: RunningHost) -> None:
    assert host.cli("revoke", "--all").returncode == 0


def kill_component(host: RunningHost) -> None:
    host.kill("third.telephone")


def kill_primary(host: RunningHost) -> None:
    host.kill("primary")


def kill_calls(host: RunningHost) -> None:
    host.kill("external.calls")


CUTS = [lock, revoke_client, revoke_component, revoke_all, kill_component, kill_primary, kill_calls]


@pytest.mark.parametrize("cut", CUTS)
def test_no_sound_passes_once_a_right_has_ended(
    host: RunningHost, browser: CallingBrowser, cut: Callable[[RunningHost], None]
) -> None:
    """Measured in the browser: when the last sound of the component came out of its buffer."""
    with host.client("anna") as anna:
        spoken, _ = ring(anna, browser)
        spoken.next("connected")
        until(lambda: browser.run("all.lastAt"))
        until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
        begun_s = time.time()
        cut(host)
        done_s = time.time()
    until(lambda: time.time() * 1000 - browser.run("all.lastAt") > 700)
    last_s = browser.run("all.lastAt") / 1000
    print(f"{cut.__name__}: {done_s - begun_s:.3f} s for the act, then sound for {last_s - done_s:.3f} s")
    assert last_s < done_s + 0.2
    if cut is not kill_calls:
        print(f"closed after {until(browser.closed_s) - done_s:.3f}")
        assert browser.closed_s() < done_s + 0.2
    if cut is lock:
        assert host.cli("unlock").returncode == 0
    elif cut is revoke_client:
        assert host.cli("restore", "client", "anna").returncode == 0
    elif cut is revoke_component:
        assert host.cli("restore", "component", TELEPHONE).returncode == 0
    until(lambda: again(lambda: is_out(host)))
    until(lambda: again(lambda: serves(host)))


def serves(host: RunningHost) -> bool:
    with host.client("ben") as ben:
        return bool(ben.call(CALLS, "numbers"))


def is_out(host: RunningHost) -> bool:
    with host.client() as admin:
        return not admin.call(TELEPHONE, "report")["is_in"]


def again(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except TlsrtError:
        return False


def quarantine(host: RunningHost) -> None:
    """Have ben touch a decoy: a component that no one has a right to."""
    with open_session(host, "ben") as peer:
        header = peer.header(CALLS, "numbers", 1)._replace(dst="secondary/vault")
        peer.send(
            seal(header, request_body(), token=peer.content.token, body_key=bytes(32), proof_key=peer.content.proof_key)
        )
        host.told('"quarantine"', "client/ben")


def test_who_is_in_quarantine_has_no_call(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("ben") as ben:
        spoken, _ = ring(ben, browser)
        spoken.next("connected")
        until(lambda: browser.run("all.lastAt"))
        quarantine(host)
        done_s = time.time()
        print(f"closed after {until(browser.closed_s) - done_s:.3f}")
        assert browser.closed_s() < done_s + 0.2
        assert browser.run("all.lastAt") / 1000 < done_s + 0.2
    assert host.cli("quarantine", "release", "ben").returncode == 0


def test_two_people_talk_and_hold(host: RunningHost, browser: CallingBrowser, made: Made) -> None:
    with inside(made[1].peer):
        second = CallingBrowser()
    with second, host.client("anna") as anna, host.client("ben") as ben:
        waiting = Spoken(ben, "watch")
        waiting.next("waits")
        spoken, call = ring(anna, browser, "ben", 700)
        told = waiting.next("rings")
        assert (told["call"], told["by"], told["number"]) == (call, "client/anna", "ben")
        taken = Spoken(ben, "answer", call, second.offer(1500))
        second.accept(taken.next("answered")["sdp"])
        assert spoken.next("answered")["by"] == "client/ben"
        assert waiting.next("over")["why"] == "answered"
        until(lambda: abs(browser.run("loudest()")["hertz"] - 1500) < 12)
        until(lambda: abs(second.run("loudest()")["hertz"] - 700) < 12)
        browser.run("channel.send('hello')")
        until(lambda: second.run("all.texts") == ["hello"])
        with pytest.raises(Busy, match="has a call already"):
            next(ben.stream(CALLS, "ring", "door", second.run("pc.localDescription.sdp")))
        ben.call(CALLS, "hold", call)
        assert spoken.next("held")["by"] == "client/ben"
        until(lambda: browser.run("loudest()")["decibel"] < -80 and second.run("loudest()")["decibel"] < -80)
        ben.call(CALLS, "hold", call, False)
        spoken.next("resumed")
        until(lambda: abs(browser.run("loudest()")["hertz"] - 1500) < 12)
        second.kill()  # as a telephone without power: its session goes on, and no more sound comes
        ben.close()  # and its connection ends
        assert spoken.next("ended")["why"] == "hung up"
        [logged] = anna.call(CALLS, "calls")[:1]
        assert (logged["call"], logged["taken_by"], logged["outcome"]) == (call, "client/ben", "answered")
        assert logged["began_ms"] <= logged["answered_ms"] <= logged["ended_ms"]


def why(spoken: Spoken) -> str:
    return str(spoken.next("ended")["why"])


def test_calls_that_no_one_takes_are_told_and_kept(host: RunningHost, browser: CallingBrowser) -> None:
    offer = browser.offer()
    with host.client("anna") as anna, host.client("ben") as ben:
        assert why(Spoken(anna, "ring", "engaged", offer)) == "busy"
        assert why(Spoken(anna, "ring", "declining", offer)) == "declined"
        assert why(Spoken(anna, "ring", "ben", offer)) == "away"
        spoken = Spoken(anna, "ring", "patient", offer)
        until(lambda: not is_out(host))
        anna.call(CALLS, "hang_up", spoken.next("rings")["call"])
        assert why(spoken) == "hung up"
        until(lambda: is_out(host))  # it is told, though it has not answered
        waiting = Spoken(ben, "watch")
        waiting.next("waits")
        spoken = Spoken(anna, "ring", "ben", offer, "the neighbour")
        told = waiting.next("rings")
        assert told["says"] == "the neighbour"
        ben.call(CALLS, "decline", told["call"])
        assert why(spoken) == "declined"
        spoken = Spoken(anna, "ring", "quick", offer)
        waiting.next("rings")
        assert why(spoken) == "not answered"
        over = waiting.next("over")
        while over["why"] != "not answered":
            over = waiting.next("over")
        missed = ben.call(CALLS, "calls", 0, True)
        assert [one["outcome"] for one in missed[:3]] == ["not answered", "declined", "away"]
        assert {one["by"] for one in missed[:3]} == {"client/anna"}
        assert anna.call(CALLS, "numbers")["family"] == ["client/anna", "client/ben"]
        with pytest.raises(NotFound, match="no call"):
            ben.call(CALLS, "hang_up", "0" * 16)


def test_a_component_rings_a_component_and_a_person(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client() as admin, host.client("ben") as ben:
        talked = admin.call(OTHER, "ring", "door", 40)
        assert talked["why"] == "" and talked["pieces"] == 40 and abs(talked["hertz"] - 440) < 12
        assert talked["others"] == [[2, "welcome"]]
        assert admin.call(TELEPHONE, "report")["rung"][-1][1:] == [OTHER, "a telephone", "door"]
        until(lambda: not admin.call(TELEPHONE, "report")["is_in"])
        assert admin.call(OTHER, "ring", "engaged", 1)["code"] == "Busy"
        assert admin.call(OTHER, "ring", "quick", 1)["why"] == "quick: away"
        assert admin.call(OTHER, "ring", "ben", 1)["code"] == "NotFound"  # which is for client/anna alone
        waiting = Spoken(ben, "watch")
        waiting.next("waits")
        ringing = threading.Thread(target=lambda: talks.append(admin.call(OTHER, "ring", "quick", 100)))
        talks: list[dict[str, Any]] = []
        ringing.start()
        told = waiting.next("rings")
        taken = Spoken(ben, "answer", told["call"], browser.offer())
        browser.accept(taken.next("answered")["sdp"])
        until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
        assert taken.next("ended")["why"] == "hung up"
        ringing.join(30)
        assert talks[0]["why"] == "" and abs(talks[0]["hertz"] - 1000) < 30
