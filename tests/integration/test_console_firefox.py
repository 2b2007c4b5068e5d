"""The console in a real Firefox: the way of a person, from a link to the end by a revocation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hosts.firefox import Firefox
from hosts.running_host import RunningHost, running
from hosts.shown_page import MAIN, all_screens, choose, open_screen

pytestmark = pytest.mark.once  # the page and the browser know no version of Python

SERVICES = ("third/status", "third/files", "third/notify", "external/messages")
EVERY = [f"{name}: *" for name in (*SERVICES, "primary/events", "secondary/store", "external/network", "forth/power")]
LINE = "(document.querySelector('#connection')?.textContent ?? '')"
KEPT = """await new Promise((resolve, reject) => {
  const asked = indexedDB.open('tlsrt')
  asked.onerror = () => reject(asked.error)
  asked.onsuccess = () => {
    const got = asked.result.transaction('identity').objectStore('identity').get('mine')
    got.onsuccess = () => { asked.result.close(); resolve(got.result) }
  }
})"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, extra={"door": {"console": True}}):
        folder = host.base / "papers"
        folder.mkdir(mode=0o755)
        (folder / "minutes.txt").write_text("all is well")
        trees = [
            "--option",
            f"trees={{papers: {{path: {folder}}}}}",
            "--needs",
            f"read=[{{path: {folder}, why: shows it}}]",
        ]
        for name in SERVICES:
            options = trees if name == "third/files" else []
            added = host.cli("component", "add", name, "--yes", "--allow", 'client/admin: "*"', *options)
            assert added.returncode == 0, added.stderr
        yield host


def link_of(host: RunningHost, name: str) -> str:
    allow = ["third/status: *", "primary/events: *", "secondary/store: *"]
    made = host.cli("console", name, *(word for one in allow for word in ("--allow", one)), "--json")
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["link"])


def enrol(browser: Firefox, link: str) -> None:
    browser.go(link)
    browser.until("document.querySelector('#enrol')")
    assert browser.run("location.hash") == ""
    browser.run("document.querySelector('#enrol').requestSubmit()")


def open_method(browser: Firefox) -> None:
    """Open the form that puts a value into the store."""
    open_screen(browser, "#/methods")
    choose(browser, "component", "secondary/store")
    choose(browser, "method", "put")
    browser.until("document.querySelector('form [name=key]')")


def test_from_a_link_to_calls_streams_a_crash_and_a_revocation(host: RunningHost) -> None:
    with Firefox(host.admin.ca_pem) as browser:
        enrol(browser, link_of(host, "fox"))
        browser.until("document.querySelector('#verdict')?.textContent")
        assert "client/fox" in browser.text()
        assert browser.run(f"({KEPT}).privateKey.extractable") is False
        exported = f"crypto.subtle.exportKey('pkcs8', ({KEPT}).privateKey).then(() => 'taken', (error) => error.name)"
        assert browser.run(f"await {exported}") == "InvalidAccessError"

        open_method(browser)
        browser.run("(document.querySelector('[name=key]').value = 'of_the_fox', 0)")
        browser.run("(document.querySelector('[name=value]').value = '7', 0)")
        browser.run("document.querySelector('form').requestSubmit()")
        browser.until("document.querySelector('dialog #yes')")
        browser.run("document.querySelector('dialog #yes').click()")
        browser.until("document.querySelector('.result')?.textContent.includes('took')")
        with host.client() as admin:
            assert admin.call("secondary/store", "get", "of_the_fox") == 7

        open_screen(browser, "#/events")
        count = "Number(document.querySelector('main')?.innerText.match(/of (\\d+) events/)?.[1] ?? 0)"
        browser.until(f"{count} > 0")
        host.kill("primary")
        browser.until(f"{LINE}.startsWith('offline since ')")
        browser.until(f"{LINE} === 'connected'")
        before = browser.run(count)
        host.respawn("forth")
        browser.until(f"{count} > {before}")
        assert browser.wrong(f"https://127.0.0.1:{host.port}") == []

        assert host.cli("client", "revoke", "fox").returncode == 0
        browser.until(f"{LINE}.startsWith('closed: rejected')")


def test_every_screen_opens_and_a_call_is_put_off(host: RunningHost) -> None:
    made = host.cli("console", "vixen", *(word for one in EVERY for word in ("--allow", one)), "--json")
    assert made.returncode == 0, made.stderr
    with Firefox(host.admin.ca_pem) as browser:
        enrol(browser, json.loads(made.stdout)["link"])
        browser.until("document.querySelector('#verdict')?.textContent")
        assert len([*all_screens(browser)]) >= 20
        open_screen(browser, "#/files")
        browser.until(f"{MAIN}.includes('papers')")

        open_method(browser)
        for name, value in (("key", "of_the_vixen"), ("value", "8"), ("job-kind", "in"), ("job-time", "1s")):
            field = f"document.querySelector('form [name={name}]')"
            browser.run(
                f"({field}.value = '{value}', {field}.dispatchEvent(new Event('change', {{ bubbles: true }})), 0)"
            )
        browser.run("document.querySelector('form').requestSubmit()")
        browser.until("document.querySelector('dialog #yes')")
        browser.run("document.querySelector('dialog #yes').click()")
        browser.until("document.querySelector('.result')?.textContent.includes('It is put off, as job ')")
        with host.client() as admin:
            watched = admin.stream("secondary/store", "watch", prefix="of_the_vixen")
            if admin.call("secondary/store", "keys", prefix="of_the_vixen") == []:
                assert next(iter(watched))["key"] == "of_the_vixen"
            assert admin.call("secondary/store", "get", "of_the_vixen") == 8
        assert browser.wrong(f"https://127.0.0.1:{host.port}") == []


def test_a_browser_that_keeps_nothing_says_so_before_the_link_is_used_up(host: RunningHost) -> None:
    with Firefox(host.admin.ca_pem, browser__privatebrowsing__autostart=True) as browser:
        browser.prefer("network.cookie.cookieBehavior", 2)  # pages may keep nothing
        link = link_of(host, "hidden")
        enrol(browser, link)
        browser.until("document.querySelector('[role=alert]')?.textContent.includes('this browser cannot keep a key')")
        browser.prefer("network.cookie.cookieBehavior", 0)
        enrol(browser, link)  # it is still good, also in a private window
        browser.until("document.querySelector('#verdict')?.textContent")
        assert browser.run(f"({KEPT}).privateKey.extractable") is False
