"""Calls from the console: real pages at a real door, sound by WebRTC both ways, and how a page's call ends."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.calling_host import CALLS, NUMBERS, OTHER, TELEPHONE, calling_host, until
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.joined_networks import inside
from hosts.page_contrast import CONTRAST
from hosts.running_host import RunningHost
from hosts.talking_page import FIRST, HERTZ, enrolled, talking_browser
from tools.axe import broken, need_axe

pytestmark = [
    pytest.mark.once,  # the page and the browser know no version of Python
    pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's"),
]
ALLOW = f'{CALLS}: "*"'
PEOPLE = {
    "desk": {"rings": ["client/desk"], "for_s": 20}, "phone": {"rings": ["client/phone"], "for_s": 20},
    "all": {"rings": ["client/desk", "client/phone"]},
}  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)>\u202e\u200b"
ENDED = "document.querySelector('#ended')?.innerText"
Pages = tuple[Tab, Tab, Tab]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[tuple[RunningHost, ConsoleBrowser]]:
    need_axe()
    with calling_host(request, "talk", console=True, numbers={**NUMBERS, **PEOPLE}) as (host, networks):
        with inside(networks.host):
            browser = talking_browser(host)
        with browser:
            yield host, browser


@pytest.fixture(scope="module")
def host(made: tuple[RunningHost, ConsoleBrowser]) -> RunningHost:
    return made[0]


@pytest.fixture(scope="module")
def pages(made: tuple[RunningHost, ConsoleBrowser]) -> Pages:
    """The page of client/phone, a second one of the same client, and one of client/desk."""
    host, browser = made
    phone, profile = enrolled(host, browser, "phone", ALLOW)
    second = browser.tab(f"https://127.0.0.1:{host.port}/", profile, FIRST)
    desk, _ = enrolled(host, browser, "desk", ALLOW)
    for tab in (phone, second, desk):
        tab.run("location.hash = '#/call'")
        tab.until("document.body.innerText.includes('This page is rung')")
    return phone, second, desk


def ring(tab: Tab, number: str) -> None:
    tab.click(f"document.querySelector('button[data-number={number}]')")


def talks(tab: Tab) -> None:
    tab.until("document.querySelector('#talk')?.innerText.includes('talking')")


def hears(tab: Tab, hertz: float) -> None:
    tab.run("listen()")
    tab.until(f"Math.abs(hertz() - {hertz}) < 12")


def is_let_go(tab: Tab) -> None:
    """Nothing of a call is left in the page."""
    tab.until("!document.querySelector('#hang-up') && !document.querySelector('#call-sound')")
    assert tab.run("pcs.every(one => one.connectionState === 'closed')")
    assert tab.run("tracks.every(one => one.readyState === 'ended')")
    assert tab.run("wrong") == []


def test_a_person_rings_a_component_and_both_hear(host: RunningHost, pages: Pages) -> None:
    phone = pages[0]
    phone.until("document.querySelector('main').innerText.includes('There was no call yet.')")
    phone.ask(
        "Emulation.setDeviceMetricsOverride", {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    )
    with host.client() as admin:
        ring(phone, "door")
        talks(phone)
        assert phone.run("document.documentElement.scrollWidth") <= 320
        assert phone.run(CONTRAST) == [] and broken(phone) == []
        hears(phone, 440)
        until(lambda: admin.call(TELEPHONE, "report")["loud"] > 50)
        assert abs(admin.call(TELEPHONE, "report")["hertz"] - HERTZ) < 40
        phone.until("document.querySelector('#talk').innerText.includes('third/telephone: welcome')")
        phone.until("/Heard: (none|less|[0-9.]+ %).* lost/.test(document.querySelector('#talk').innerText)")
        assert broken(phone) == []
        print(phone.until("document.querySelector('#talk').innerText.match(/There was sound.*|Heard:.*/g)?.[1]"))
        phone.click("document.querySelector('#mute')")
        admin.call(TELEPHONE, "silent", True)
        loud = admin.call(TELEPHONE, "report")["loud"]
        phone.until("Date.now() - loud.last > 700")
        assert admin.call(TELEPHONE, "report")["loud"] <= loud + 15  # what was on the way
        phone.run("loud.first = 0")
        begun_s = admin.call(TELEPHONE, "silent", False)
        print("component to page, ms:", phone.until("loud.first") - begun_s * 1000)
        phone.click("document.querySelector('#mute')")
        unmuted_s = time.time()
        heard_s = until(lambda: admin.call(TELEPHONE, "report")["first_loud_s"])
        print("page to component, ms (up to 200 more of a pause in the tone):", 1000 * (heard_s - unmuted_s))
        phone.click("document.querySelector('#hold')")
        phone.until("document.querySelector('#talk').innerText.includes('held by client/phone')")
        phone.until("Date.now() - loud.last > 500")
        phone.click("document.querySelector('#hold')")
        phone.until("Date.now() - loud.last < 300")
        phone.click("document.querySelector('#talk summary')")
        phone.button("5")
        until(lambda: [3, "5"] in admin.call(TELEPHONE, "report")["others"])
        phone.run("document.querySelector('#call-text').value = 'open the door'")
        phone.button("Send")
        until(lambda: [2, "open the door"] in admin.call(TELEPHONE, "report")["others"])
        phone.click("document.querySelector('#hang-up')")
        is_let_go(phone)
        until(lambda: not admin.call(TELEPHONE, "report")["is_in"])
    assert phone.run(ENDED) == "The call with third/telephone is over: hung up"
    phone.until("document.querySelector('main table')?.innerText.includes('answered by third/telephone')")
    assert broken(phone) == []


def test_it_rings_in_every_page_and_one_answers(host: RunningHost, pages: Pages) -> None:
    phone, second, desk = pages
    ring(desk, "phone")
    for tab in (phone, second):
        tab.until("document.querySelector('#bell').innerText.includes('client/desk rings (phone)')")
        assert tab.run("document.title.startsWith('☎')")
        assert tab.run("document.activeElement.tagName") != "BUTTON"  # who types Enter elsewhere answers nothing
    assert broken(phone) == []
    assert "a page sound once" in second.run("document.querySelector('#bell').innerText")  # nothing was pressed there
    phone.button("Answer client/desk")
    second.until("!document.querySelector('#bell').innerText.includes('rings (phone)')")
    talks(phone)
    talks(desk)
    hears(phone, HERTZ)
    hears(desk, HERTZ)
    ring(second, "door")
    second.until(f"{ENDED}?.includes('has a call already')")
    desk.click("document.querySelector('#hang-up')")
    for tab in (phone, desk, second):
        is_let_go(tab)
    assert phone.run(ENDED) == "The call with client/desk is over: hung up"


def test_refused_engaged_away_and_missed_are_told_and_kept(host: RunningHost, pages: Pages) -> None:
    phone, _, desk = pages
    for number, why in (("engaged", "engaged"), ("declining", "refused"), ("anna", "no one is there")):
        ring(desk, number)
        desk.until(f"{ENDED} === 'The call with {number} is over: {why}'")
    desk.run(f"document.querySelector('#call-says').value = {json.dumps(HOSTILE)}")
    ring(desk, "phone")
    phone.until("document.querySelector('#bell').innerText.includes('<img src=x onerror=alert(1)>\\\\u202e')")
    assert phone.run("document.querySelectorAll('img, [onerror]').length") == 0
    phone.button("Refuse")
    desk.until(f"{ENDED} === 'The call with phone is over: refused'")
    phone.click("document.querySelector('#missed')")
    phone.until("/from client\\/desk[^]*refused/.test(document.querySelector('main table').innerText)")
    for tab in pages:
        is_let_go(tab)


def test_a_component_rings_a_page(host: RunningHost, pages: Pages) -> None:
    phone, second, _ = pages
    talked: list[dict[str, Any]] = []
    with host.client() as admin:
        ringing = threading.Thread(target=lambda: talked.append(admin.call(OTHER, "ring", "phone", 100)))
        ringing.start()
        second.button("Answer third/other")
        talks(second)
        ringing.join(30)
    assert talked[0]["why"] == "" and abs(talked[0]["hertz"] - HERTZ) < 40
    second.until(f"{ENDED} === 'The call with third/other is over: hung up'")
    is_let_go(second)
    is_let_go(phone)


def last_sound_ms(tab: Tab) -> float:
    tab.until("Date.now() - loud.last > 500")
    return float(tab.run("loud.last"))


def test_a_page_that_is_loaded_again_ends_its_call(host: RunningHost, pages: Pages) -> None:
    phone = pages[0]
    with host.client() as admin:
        ring(phone, "door")
        talks(phone)
        until(lambda: admin.call(TELEPHONE, "report")["is_in"])
        begun_s = time.time()
        phone.ask("Page.reload")
        until(lambda: not admin.call(TELEPHONE, "report")["is_in"])
        print("ended at the host after a reload, ms:", 1000 * (time.time() - begun_s))
    phone.until("document.body?.innerText.includes('This page is rung')")


def test_a_lock_hangs_up_and_a_revocation_closes(host: RunningHost, pages: Pages) -> None:
    phone, _, desk = pages
    ring(phone, "desk")
    desk.button("Answer client/phone")
    talks(phone)
    talks(desk)
    hears(phone, HERTZ)
    assert host.cli("lock").returncode == 0
    done_ms = 1000 * time.time()
    for tab in (phone, desk):
        is_let_go(tab)
        closed_ms = tab.run("pcs.at(-1).closedAt") - done_ms
        print("lock: the page has closed its connection, ms after the command:", closed_ms)
        assert closed_ms < 200
    assert last_sound_ms(phone) < done_ms + 200
    phone.until(f"{ENDED} === 'The call with client/desk is over: the host is locked'")
    assert host.cli("unlock").returncode == 0
    for tab in (phone, desk):
        tab.until("document.body.innerText.includes('This page is rung')")
    ring(phone, "desk")
    desk.button("Answer client/phone")
    talks(phone)
    talks(desk)
    assert host.cli("client", "revoke", "phone").returncode == 0
    done_ms = 1000 * time.time()
    for tab in (phone, desk):
        is_let_go(tab)
        assert tab.run("pcs.at(-1).closedAt") < done_ms + 200
    phone.until("document.querySelectorAll('nav a').length === 0")
    assert phone.run("document.querySelector('#bell').innerText") == ""
