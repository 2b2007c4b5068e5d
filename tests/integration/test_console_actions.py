"""What a person does from the console: each action is asked about, done once, recorded, and shown to who may do it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from attackers.arena import PACKAGE, request_body, seal
from attackers.tls_peer import open_session
from hosts.page_browser import PageBrowser
from hosts.running_host import RunningHost, running
from hosts.shown_page import open_screen

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
OPERATE, STATUS, FILES = "third/operate", "third/status", "third/kept"
NEEDS = [
    {"may": "restart", "components": ["third/io", "secondary/store"], "why": "a test"},
    {"may": "pause", "components": [FILES], "why": "a test"},
    *({"may": one, "why": "a test"} for one in ("lock", "release", "revoke")),
]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    kept = {"class": "captured.helped:Helped"}
    for host in running(
        request, packages=[PACKAGE], clients=["guest"], components={FILES: kept},
        policy={"client/guest -> secondary/store": ["get"]},
        extra={"door": {"console": True}, "detection": {"mode": "act", "allow": ["127.0.0.1"]}},
    ):  # fmt: skip
        for words in ((STATUS,), (OPERATE, "--needs", f"runtime={json.dumps(NEEDS)}")):
            added = host.cli("component", "add", *words, "--yes")
            assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture
def browser() -> Iterator[PageBrowser]:
    with PageBrowser() as one:
        yield one


def enrolled(host: RunningHost, browser: PageBrowser, name: str, methods: str) -> None:
    allow = ["--allow", f"{STATUS}: *", "--allow", "primary/events: *", "--allow", f"{OPERATE}: {methods}"]
    made = host.cli("client", "add", name, *allow, "--json")
    assert made.returncode == 0, made.stderr
    browser.go(f"https://127.0.0.1:{host.port}/#{json.loads(made.stdout)['code']}")
    browser.until("document.querySelector('#enrol')")
    browser.run("document.querySelector('#enrol').requestSubmit()")
    browser.until("document.querySelector('#verdict')?.textContent")


def find(words: str) -> str:
    return f"[...document.querySelectorAll('.act')].find(one => one.firstChild.textContent === {json.dumps(words)})"


def ask(browser: PageBrowser, words: str) -> None:
    browser.until(f"Boolean({find(words)})")
    browser.run(f"{find(words)}.firstChild.click()")
    browser.run(f"{find(words)}.firstChild.click()")  # a double click
    browser.until("document.querySelector('dialog[open]') && document.activeElement.id === 'no'")
    assert browser.run("document.querySelectorAll('dialog').length") == 1


def do(browser: PageBrowser, words: str, says: str) -> None:
    ask(browser, words)
    browser.run("document.querySelector('#yes').click(); document.querySelector('#yes')?.click()")
    browser.until(f"{find(words)}?.lastChild.textContent.includes({json.dumps(says)})")


def test_each_action_from_the_screens_is_done_once_and_recorded(host: RunningHost, browser: PageBrowser) -> None:
    enrolled(host, browser, "anna", "*")
    host.client("guest")
    enrolled_before = host.cli("client", "add", "phone", "--allow", "secondary/store: *", "--json")
    assert enrolled_before.returncode == 0
    open_screen(browser, "#/tree")
    restarts = host.loop("third")["restarts"]
    ask(browser, "Restart third (third/io)")
    assert "tlsrt-supervisor restart third" in browser.run("document.querySelector('dialog').textContent")
    browser.run("document.querySelector('#no').click()")
    browser.until("!document.querySelector('dialog')")
    assert host.loop("third")["restarts"] == restarts
    do(browser, "Restart third (third/io)", "active again")
    assert host.loop("third")["restarts"] == restarts + 1
    do(browser, "Stop third.kept", "is down")
    browser.until(f"Boolean({find('Start third.kept')})")
    browser.run(f"{find('Start third.kept')}.firstChild.click()")
    host.until(lambda document: host.loop("third.kept")["state"] == "active", "the start")
    open_screen(browser, "#/rights")
    do(browser, "Revoke client phone", "is revoked")
    do(browser, "Revoke client guest", "denied")  # the configuration lists it
    assert not browser.run(f"Boolean({find('Revoke client anna')})"), "nobody is offered to end itself"
    with open_session(host, "guest") as peer:
        header = peer.header("secondary/store", "get", 1)._replace(dst="secondary/vault")
        content = peer.content
        peer.send(seal(header, request_body(), token=content.token, body_key=bytes(32), proof_key=content.proof_key))
        host.until(lambda document: "client/guest" in document["quarantined"], "the quarantine")
    open_screen(browser, "#/attacks")
    ask(browser, "Release client/guest")
    browser.run("document.querySelector('#yes').click()")
    host.until(lambda document: document["quarantined"] == [], "the release", timeout_s=30)
    asked = [
        one for one in host.cli("audit", "tail", "-n", "500", "--json").stdout.splitlines() if "runtime_act" in one
    ]
    assert len([one for one in asked if OPERATE in one]) == 5 and sum("client/anna" in one for one in asked) == 5
    open_screen(browser, "#/health")
    browser.until(f"Boolean({find('Lock the host')})")
    do(browser, "Lock the host", "locked since")
    browser.until("document.querySelector('#connection').textContent.includes('the host is locked, since')")
    assert host.status()["door"]["locked"]
    assert host.cli("unlock").returncode == 0
    browser.until("document.querySelector('#connection').textContent === 'connected'")
    assert browser.wrong == []


def test_who_may_only_look_has_no_button_and_no_way(host: RunningHost, browser: PageBrowser) -> None:
    enrolled(host, browser, "looker", "[targets]")
    for screen in ("tree", "attacks", "rights", "health"):
        open_screen(browser, f"#/{screen}")
        assert browser.run("document.querySelectorAll('.act').length") == 0


def test_a_connection_that_ends_between_question_and_yes_does_nothing(host: RunningHost, browser: PageBrowser) -> None:
    enrolled(host, browser, "ben", "*")
    open_screen(browser, "#/tree")
    restarts = host.loop("third")["restarts"]
    ask(browser, "Restart third (third/io)")
    seen = len(host.console)
    host.kill("primary")
    browser.until("!document.querySelector('dialog')")
    host.wait_for("^primary +active", after=seen)
    browser.until(f"{find('Restart third (third/io)')}?.lastChild.textContent.includes('nothing was done')")
    browser.until("document.querySelector('#connection').textContent === 'connected'")
    assert host.loop("third")["restarts"] == restarts
