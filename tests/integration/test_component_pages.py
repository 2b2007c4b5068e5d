"""A page that a component brings, in a browser over the real door: it can use its component, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.page_browser import PageBrowser
from hosts.running_host import RunningHost

from tlsrt import Client

PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "page_package" / "painted"
pytestmark = pytest.mark.once  # the page and the browser know no version of Python
WAIT_S = 30.0


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    components = {
        "third/lamp": {"class": "painted:Painted", "process": "shared", "page": "page.js"},
        "third/hostile": {"class": "painted:Hostile", "process": "shared", "page": "hostile.js"},
    }
    policy = {f"client/admin -> third/{name}": "*" for name in ("lamp", "hostile")}
    with RunningHost(
        components=components, policy=policy, packages=[PACKAGE], extra={"door": {"console": True}}
    ) as host:
        yield host


@pytest.fixture(scope="module")
def admin(host: RunningHost) -> Client:
    return host.client()


@pytest.fixture
def browser(host: RunningHost) -> Iterator[PageBrowser]:
    name = f"seer{time.monotonic_ns()}"
    allow = ["--allow", 'third/lamp: "*"', "--allow", 'third/hostile: "*"', "--allow", 'primary/kernel: "*"']
    made = host.cli("client", "add", name, *allow, "--json")
    assert made.returncode == 0, made.stderr
    with PageBrowser() as browser:
        browser.go(f"https://127.0.0.1:{host.port}/#{json.loads(made.stdout)['code']}")
        browser.until("document.querySelector('#enrol')")
        browser.run("document.querySelector('#enrol').requestSubmit()")
        browser.until("document.querySelector('nav a')")
        browser.run("location.hash = '#/pages'")
        browser.until("document.querySelector('#page-of')")
        yield browser


def noted(admin: Client, target: str, last: str) -> list[str]:
    limit = time.monotonic() + WAIT_S
    while last not in (found := list(map(str, admin.call(target, "noted")))):
        assert time.monotonic() < limit, found
        time.sleep(0.05)
    return found


def choose(browser: PageBrowser, target: str) -> None:
    browser.run(
        f"(() => {{ const select = document.querySelector('#page-of'); select.value = '{target}'; "
        "select.dispatchEvent(new Event('change')) })()"
    )
    browser.until(f"document.querySelector('.component-page')?.ariaLabel.includes('{target}')")


def test_a_page_calls_follows_and_draws(admin: Client, browser: PageBrowser) -> None:
    choose(browser, "third/lamp")
    found = noted(admin, "third/lamp", "sum 15")
    assert found[0] == "page of third/lamp, may count metrics note noted put read shine subscribe where"
    browser.until("document.querySelector('.component-page h3')?.textContent === 'It is 1'")
    field = "document.querySelector('.component-page input')"
    browser.run(f"{field}.focus(); {field}.value = '42'")
    admin.call("third/lamp", "shine", 3)
    browser.until("document.querySelector('.component-page h3').textContent === 'It is 3'")
    assert browser.run(f"document.activeElement === {field} && {field}.value") == "42", "what was typed stays"
    browser.press("Enter", 13)
    browser.until("document.querySelector('.component-page h3').textContent === 'It is 42'")
    assert admin.call("third/lamp", "read") == 42
    assert not browser.run("Boolean(document.querySelector('dialog'))"), "a person has caused it"
    assert "at most 42" in browser.run("document.querySelector('.component-page figcaption').textContent")
    admin.call("third/lamp", "shine", 60)
    browser.until("document.querySelector('.component-page .warn')")
    assert browser.wrong == []


def test_a_hostile_page_reaches_its_component_alone(host: RunningHost, admin: Client, browser: PageBrowser) -> None:
    admin.call("third/hostile", "put", f"127.0.0.1:{host.port}")
    choose(browser, "third/hostile")
    browser.until("document.querySelector('dialog[open]') && document.activeElement.id === 'no'")
    assert "shine" in browser.run("document.querySelector('dialog pre').textContent")
    browser.run("document.querySelector('#no').click()")
    found = dict(line.split(": ", 1) for line in noted(admin, "third/hostile", "end") if line != "end")
    worked = {name: how for name, how in found.items() if not how.startswith("refused")}
    assert worked == {}, worked
    assert len(found) == 22, found
    assert found["another component"] == found["prototype"] == found["without a click"] == "refused denied"
    assert found["many"] == "refused busy"
    browser.until("document.querySelector('.component-page .main')")
    assert browser.run("document.querySelector('.component-page button').className") == "main"
    assert (
        browser.run("document.querySelector('.component-page').querySelectorAll('script, a, img, iframe').length") == 1
    )
    assert "<img src=x" in browser.run("document.querySelector('.component-page p:not(.error)').innerText")
    assert "not work" in browser.run("document.querySelector('.component-page .error').textContent")
    assert browser.run("self.bad") is None
    assert admin.call("third/hostile", "read") == 1
    choose(browser, "third/lamp")  # while it takes a processor the console goes on, and with its frame it ends
    browser.until("document.querySelector('.component-page h3')")
    assert browser.wrong and all(" blob:null/" in one or "/frame.html" in one for one in browser.wrong)


def test_the_frame_takes_no_page_from_anybody_else(host: RunningHost, browser: PageBrowser) -> None:
    browser.go(f"https://127.0.0.1:{host.port}/frame.html")
    browser.until("document.title.startsWith('frame')")
    assert browser.run("self.origin") == "null"
    browser.run("self.made = 0; URL.createObjectURL = () => { self.made++; return '' }")
    for origin in ("*", f"https://127.0.0.1:{host.port}"):
        browser.run(f"postMessage({{ page: 'x', methods: [] }}, '{origin}', [new MessageChannel().port2])")
    assert browser.run("new Promise((go) => setTimeout(() => go(self.made), 200))") == 0
