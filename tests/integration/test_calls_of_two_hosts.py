"""A person or component of one host rings one of another: real hosts, real Chromium, how it sounds and how it ends."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attackers.arena import request_body, seal
from attackers.tls_peer import open_session
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, OTHER, TELEPHONE, Spoken, ring, until
from hosts.calling_hosts import calling_hosts
from hosts.joined_networks import JoinedNetworks, inside
from hosts.running_host import RunningHost
from tools.programs import need

from tlsrt import TlsrtError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")
Made = tuple[RunningHost, RunningHost, JoinedNetworks]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    need("chromium-headless-shell")
    with calling_hosts(request, "two") as one:
        yield one


@pytest.fixture(scope="module")
def pages(made: Made) -> Iterator[tuple[CallingBrowser, CallingBrowser]]:
    with inside(made[2].peer):
        first, second = CallingBrowser(), CallingBrowser()
    with first, second:
        yield first, second


@pytest.fixture
def browsers(pages: tuple[CallingBrowser, CallingBrowser]) -> tuple[CallingBrowser, CallingBrowser]:
    for one in pages:
        one.fresh()
    return pages


def is_out(host: RunningHost) -> bool:
    try:
        with host.client() as admin:
            return not admin.call(TELEPHONE, "report")["is_in"]
    except TlsrtError:
        return False


def test_a_component_rings_a_component_of_another_host_and_both_hear(made: Made) -> None:
    kettle, attic, _ = made
    with kettle.client() as here, attic.client() as there:
        talks: list[dict[str, Any]] = []
        begun_s = time.monotonic()
        talking = threading.Thread(target=lambda: talks.append(here.call(OTHER, "ring", "attic", 400, timeout_s=60)))
        talking.start()
        until(lambda: there.call(TELEPHONE, "report")["loud"] > 20)
        print("from the ring to sound, s:", time.monotonic() - begun_s)
        delays: dict[str, list[float]] = {TELEPHONE: [], OTHER: []}  # of who is heard: by the other one
        for _ in range(5):
            for says, at, hears, far in ((TELEPHONE, there, OTHER, here), (OTHER, here, TELEPHONE, there)):
                at.call(says, "silent", True)
                pieces = far.call(hears, "report")["pieces"]
                until(lambda: far.call(hears, "report")["pieces"] > pieces + 20)  # noqa: B023
                far.call(hears, "silent", False)  # what it heard first is forgotten
                begun = at.call(says, "silent", False)
                first = until(lambda: far.call(hears, "report")["first_loud_s"])  # noqa: B023
                delays[says].append(first - begun)
        print("one way, ms:", {who: [round(1000 * one) for one in found] for who, found in delays.items()})
        talking.join(60)
        state = there.call(TELEPHONE, "report")
        until(lambda: is_out(attic))
    talked = talks[0]
    assert talked["why"] == "" and talked["pieces"] == 400 and abs(talked["hertz"] - 440) < 30, talked
    assert abs(state["hertz"] - 440) < 30
    assert state["rung"][-1][1:] == [f"{OTHER}@kettle", "a telephone", "door"]
    assert max(statistics.median(found) for found in delays.values()) < 0.5
    assert attic.loop("external.calls")["violations"] == kettle.loop("external.calls")["violations"] == 0


@contextmanager
def standstill(port: int) -> Iterator[None]:
    """Let no packet from or to the door of a host pass, in the namespace of this thread."""
    rules = f"""
table ip way {{
  chain come {{
    type filter hook input priority 0
    tcp dport {port} drop
    tcp sport {port} drop
  }}
}}
"""
    subprocess.run([need("nft"), "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([need("nft"), "delete", "table", "ip", "way"], check=True)


def test_after_a_standstill_of_the_network_sound_is_on_time_again(made: Made) -> None:
    kettle, attic, _ = made
    with kettle.client() as here, attic.client() as there:
        talking = threading.Thread(target=lambda: here.call(OTHER, "ring", "attic", 600, timeout_s=120))
        talking.start()
        until(lambda: there.call(TELEPHONE, "report")["loud"] > 20)
        until(lambda: here.call(OTHER, "report")["loud"] > 20)
        with standstill(attic.port):
            until(lambda: time.time() - here.call(OTHER, "report")["last_s"] > 1.2)
        begun_s = time.time()
        until(lambda: here.call(OTHER, "report")["last_s"] > begun_s)
        print(f"heard again after {time.time() - begun_s:.3f} s")
        for says, at, hears, far in ((TELEPHONE, there, OTHER, here), (OTHER, here, TELEPHONE, there)):
            at.call(says, "silent", True)
            pieces = far.call(hears, "report")["pieces"]
            until(lambda: far.call(hears, "report")["pieces"] > pieces + 50)  # noqa: B023
            far.call(hears, "silent", False)
            begun = at.call(says, "silent", False)
            late_s = until(lambda: far.call(hears, "report")["first_loud_s"]) - begun  # noqa: B023
            print(f"after the standstill one way from {says}: {1000 * late_s:.0f} ms")
            assert late_s < 1.0
        talking.join(60)
    until(lambda: is_out(attic))


def test_who_does_not_take_a_call_at_another_host_is_told(made: Made) -> None:
    kettle, attic, _ = made
    with kettle.client() as here:
        for number, code, why in (
            ("engaged", "Busy", "engaged"), ("declining", "Unavailable", "declined"),
            ("own", "Unavailable", "away"), ("ben", "Unavailable", "away"), ("back", "Unavailable", "away"),
        ):  # fmt: skip
            told = here.call(OTHER, "ring", number, 1)
            assert (told["code"], why in told["why"]) == (code, True), told
        assert here.call(OTHER, "ring", "both", 20)["hertz"] > 400  # the first of both hosts
    until(lambda: is_out(attic))


def test_two_people_of_two_hosts_talk_and_hold(
    made: Made, browsers: tuple[CallingBrowser, CallingBrowser]
) -> None:  # fmt: skip
    kettle, attic, _ = made
    browser, second = browsers
    with kettle.client("anna") as anna, attic.client("ben") as ben:
        waiting = Spoken(ben, "watch")
        waiting.next("waits")
        spoken, call = ring(anna, browser, "ben", 700)
        told = waiting.next("rings")
        assert (told["by"], told["number"]) == ("client/anna@kettle", "ben")
        taken = Spoken(ben, "answer", told["call"], second.offer(1500))
        second.accept(taken.next("answered")["sdp"])
        assert spoken.next("answered")["by"] == "ben@attic"
        until(lambda: abs(browser.run("loudest()")["hertz"] - 1500) < 12)
        until(lambda: abs(second.run("loudest()")["hertz"] - 700) < 12)
        browser.run("channel.send('hello')")
        until(lambda: second.run("all.texts") == ["hello"])
        ben.call(CALLS, "hold", told["call"])
        assert spoken.next("held")["by"] == "ben@attic"
        until(lambda: browser.run("loudest()")["decibel"] < -80 and second.run("loudest()")["decibel"] < -80)
        ben.call(CALLS, "hold", told["call"], False)
        assert spoken.next("resumed")["by"] == "ben@attic"
        until(lambda: abs(browser.run("loudest()")["hertz"] - 1500) < 12)
        anna.call(CALLS, "hold", call)
        assert taken.next("held")["by"] == taken.next("resumed")["by"] == "client/ben"
        assert taken.next("held")["by"] == "client/anna@kettle"
        assert taken.items.empty()  # said once, not back and forth
        anna.call(CALLS, "hang_up", call)
        assert spoken.next("ended")["why"] == taken.next("ended")["why"] == "hung up"
        [there] = ben.call(CALLS, "calls")[:1]
        assert (there["by"], there["outcome"]) == ("client/anna@kettle", "answered")


def lock_here(kettle: RunningHost, attic: RunningHost) -> None:
    assert kettle.cli("lock").returncode == 0


def lock_there(kettle: RunningHost, attic: RunningHost) -> None:
    assert attic.cli("lock").returncode == 0


def revoke_the_person(kettle: RunningHost, attic: RunningHost) -> None:
    assert kettle.cli("revoke", "client", "anna").returncode == 0


def revoke_the_host(kettle: RunningHost, attic: RunningHost) -> None:
    assert attic.cli("revoke", "client", "kettle").returncode == 0


def quarantine_the_host(kettle: RunningHost, attic: RunningHost) -> None:
    """Have the host kettle touch a decoy of attic: a component that no one has a right to."""
    with open_session(attic, "kettle") as peer:
        header = peer.header(CALLS, "dial_from", 1)._replace(dst="secondary/vault")
        peer.send(
            seal(header, request_body(), token=peer.content.token, body_key=bytes(32), proof_key=peer.content.proof_key)
        )
        attic.told('"quarantine"', "client/kettle")


def kill_there(kettle: RunningHost, attic: RunningHost) -> None:
    attic.kill("external.calls")


# A host rings 12 times a minute at most; the one that is killed has forgotten who has rung.
CUTS = [lock_here, lock_there, kill_there, revoke_the_person, revoke_the_host, quarantine_the_host]


@pytest.mark.parametrize("cut", CUTS)
def test_no_sound_passes_once_a_right_has_ended_at_either_host(
    made: Made, browsers: tuple[CallingBrowser, CallingBrowser], cut: Callable[[RunningHost, RunningHost], None]
) -> None:
    """Measured where it is heard: in the browser of the one host, and in the component of the other."""
    kettle, attic, _ = made
    browser = browsers[0]
    with kettle.client("anna") as anna:
        spoken, _ = ring(anna, browser, "attic")
        spoken.next("connected")
        until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)
        cut(kettle, attic)
        done_s = time.time()
    closed_s = until(browser.closed_s) - done_s
    until(lambda: time.time() * 1000 - browser.run("all.lastAt") > 700)
    if cut is lock_there:
        assert attic.cli("unlock").returncode == 0
    until(lambda: is_out(attic))
    with attic.client() as there:
        there_s = there.call(TELEPHONE, "report")["last_s"] - done_s
    here_s = browser.run("all.lastAt") / 1000 - done_s
    print(f"{cut.__name__}: closed at the browser {closed_s:.3f} s, last sound there {here_s:.3f}, there {there_s:.3f}")
    assert closed_s < 0.2 and there_s < 0.2  # what came before that may leave the buffer of a browser later
    if cut is lock_here:
        assert kettle.cli("unlock").returncode == 0
    elif cut is revoke_the_person:
        assert kettle.cli("restore", "client", "anna").returncode == 0
    elif cut is revoke_the_host:
        assert attic.cli("restore", "client", "kettle").returncode == 0
    elif cut is quarantine_the_host:
        assert attic.cli("quarantine", "release", "kettle").returncode == 0
    until(lambda: serves(kettle, attic))


def serves(*hosts: RunningHost) -> bool:
    try:
        for host, name in zip(hosts, ("anna", "ben"), strict=True):
            with host.client(name) as client:
                client.call(CALLS, "numbers")
    except TlsrtError:
        return False
    return True
