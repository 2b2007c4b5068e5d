"""No rule of axe is broken on any screen of the console, over the real door and under its policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.running_host import RunningHost, running
from hosts.shown_page import all_screens, choose, open_screen
from tools.axe import broken, need_axe
from tools.pictured_host import touch_a_decoy

pytestmark = pytest.mark.once  # the page and the browser know no version of Python

SERVICES = ("third/status", "third/notify", "secondary/logs", "external/messages")
DEFAULTS = ("primary/events", "primary/kernel", "secondary/store", "external/network", "forth/power")
BY_SIZE = ("color-contrast", "target-size", "scrollable-region-focusable")  # what light and width change


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    need_axe()
    for host in running(request, extra={"door": {"console": True}}):
        for name in SERVICES:
            added = host.cli("component", "add", name, "--yes", "--allow", 'client/admin: "*"')
            assert added.returncode == 0, added.stderr
        asyncio.run(touch_a_decoy(host))  # so that there is a story of an attack
        yield host


def look(tab: Tab, scheme: str, width: int) -> None:
    """Show the page so, as a system and a window do."""
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}  # or a colour is between two
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    tab.ask("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500}
    tab.ask("Emulation.setDeviceMetricsOverride", size)


def put_off(tab: Tab) -> None:
    """Leave a job, so that its screen has rows."""
    open_screen(tab, "#/methods")
    choose(tab, "component", "secondary/store")
    choose(tab, "method", "put")
    tab.until("document.querySelector('form [name=key]')")
    choose(tab, "job-kind", "in")
    for name, value in (("key", "later"), ("value", "1"), ("job-time", "1h")):
        tab.run(f"void (document.querySelector('form [name={name}]').value = '{value}')")
    tab.run("document.querySelector('form').requestSubmit()")
    tab.until("document.querySelector('dialog #yes')")
    tab.run("document.querySelector('dialog #yes').click()")
    tab.until("document.querySelector('.result')?.textContent.includes('It is put off, as job ')")


def test_no_rule_of_axe_is_broken_on_any_screen(host: RunningHost) -> None:
    allow = [f"{name}: *" for name in (*SERVICES, *DEFAULTS)]
    made = host.cli("console", "reader", *(word for one in allow for word in ("--allow", one)), "--json")
    assert made.returncode == 0, made.stderr
    found: list[object] = []
    seen: list[str] = []
    with ConsoleBrowser(host.admin.ca_pem) as browser:
        tab = browser.tab(json.loads(made.stdout)["link"])

        def check(what: str, *only: str) -> None:
            found.extend((what, one) for one in broken(tab, *only))

        tab.until("document.querySelector('#enrol')")
        look(tab, "light", 320)
        check("enrolment")
        tab.run("document.querySelector('#enrol').requestSubmit()")
        tab.until("document.querySelector('#verdict')?.textContent")
        put_off(tab)
        for screen in all_screens(tab):
            seen.append(screen)
            if screen == "#/attacks":
                tab.until("document.querySelector('main h3 ~ .scrolls table')")
            for scheme, width in (("light", 1280), ("dark", 320)):
                look(tab, scheme, width)
                check(f"{screen} {scheme} {width}")
                assert tab.run("document.documentElement.scrollWidth") <= width, (screen, width)
            for scheme, width in (("dark", 1280), ("light", 320)):
                look(tab, scheme, width)
                check(f"{screen} {scheme} {width}", *BY_SIZE)
        assert len(seen) >= 20
        tab.run("document.querySelector('main').append(document.createElement('input'))")
        assert [one[0] for one in broken(tab)] == ["label"]  # it finds what is there
        tab.run("document.querySelector('main > input').remove()")
        tab.run("import('/dialog.js').then(({ ask }) => void ask('Is it so?', 'Yes', 'No'))")
        tab.until("document.querySelector('dialog #no')")
        check("question")
        tab.run("document.querySelector('dialog #no').click()")
        assert host.cli("client", "revoke", "reader").returncode == 0
        tab.until("document.querySelectorAll('nav a').length === 0")
        check("closed")
        assert found == [], json.dumps(found, indent=1)
        assert browser.wrong == []
