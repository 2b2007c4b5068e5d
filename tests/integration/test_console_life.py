"""The console over the days: links that are old, tabs, a lock, a reload, a crash, a network that is gone, an end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.running_host import RunningHost, running
from hosts.stopped_relay import StoppedRelay

pytestmark = pytest.mark.once  # the page and the browser know no version of Python

LINE = "(document.querySelector('#connection')?.textContent ?? '')"
MAIN = "(document.querySelector('main')?.innerText ?? '')"
SHORT_LINKS = "from tlsrt.supervisor.authority.model import join_codes\njoin_codes.LIFE_MS = 1\n"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, extra={"door": {"console": True}}):
        added = host.cli("component", "add", "third/status", "--yes", "--allow", 'client/admin: "*"')
        assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture
def browser(host: RunningHost) -> Iterator[ConsoleBrowser]:
    with ConsoleBrowser(host.admin.ca_pem) as made:
        yield made


def link_of(host: RunningHost, name: str) -> str:
    made = host.cli("console", name, "--json")
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["link"])


def enrol(tab: Tab) -> None:
    """Press the one button of a page that was opened by a link."""
    tab.until("document.querySelector('#enrol')")
    tab.run("document.querySelector('#enrol').requestSubmit()")


def enrolled(host: RunningHost, browser: ConsoleBrowser, name: str) -> Tab:
    tab = browser.tab(link_of(host, name))
    enrol(tab)
    tab.until("document.querySelector('#verdict')?.textContent")
    return tab


def goes_on(host: RunningHost, tab: Tab) -> None:
    """What happens on the host from now on is seen in the page."""
    tab.until(f"{LINE} === 'connected'")
    tab.run("location.hash = '#/events'")
    count = "Number(document.querySelector('main')?.innerText.match(/of (\\d+) events/)?.[1] ?? 0)"
    tab.until(f"{count} > 0")
    before = tab.run(count)
    host.respawn("forth")
    tab.until(f"{count} > {before}")


def test_a_used_link_says_whom_to_tell_and_leaves_nothing(host: RunningHost, browser: ConsoleBrowser) -> None:
    link = link_of(host, "first")
    with ConsoleBrowser(host.admin.ca_pem) as thief:
        enrol(taken := thief.tab(link))
        taken.until("document.querySelector('#verdict')?.textContent")
    owner = browser.tab(link)
    enrol(owner)
    owner.until("document.querySelector('[role=alert]')?.textContent.includes('another person may have')")
    owner.go(link.partition("#")[0])
    owner.until(f"{MAIN}.includes('This browser is no client of this host')")
    owner.run(f"location.hash = {json.dumps(link_of(host, 'second').partition('#')[2])}")  # as pasted into that tab
    enrol(owner)
    owner.until("document.querySelector('#verdict')?.textContent")
    assert owner.run("location.hash") in ("", "#/health")


def test_an_old_link_is_refused_in_the_same_words() -> None:
    with (
        RunningHost(extra={"door": {"console": True}}, prelude=SHORT_LINKS) as host,
        ConsoleBrowser(host.admin.ca_pem) as browser,
    ):
        tab = browser.tab(link_of(host, "late"))
        enrol(tab)
        tab.until("document.querySelector('[role=alert]')?.textContent.includes('older than 10 minutes')")


def test_two_tabs_are_one_client_and_forgetting_in_one_ends_both(host: RunningHost, browser: ConsoleBrowser) -> None:
    one = enrolled(host, browser, "tabs")
    other = browser.tab(one.run("location.href"))
    other.until("document.querySelector('#verdict')?.textContent")
    assert "client/tabs" in one.text() and "client/tabs" in other.text()
    listed = [
        row for row in json.loads(host.cli("client", "list", "--json").stdout)["clients"] if row["name"] == "tabs"
    ]
    assert len(listed) == 1 and listed[0]["sessions"] == 2
    one.run("import('/client.js').then((client) => client.forget())")
    other.until(f"{LINE}.includes('was forgotten in another tab')")
    other.run("location.reload()")
    other.until(f"{MAIN}.includes('This browser is no client of this host')")


def test_an_address_names_a_screen_and_nothing_of_the_language(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "routes")
    for name in ("constructor", "__proto__", "toString", "no_such"):
        tab.run(f"location.hash = '#/{name}'")
        tab.until("document.querySelector('nav [aria-current]')?.textContent === 'Health'")
        tab.until("document.querySelector('#verdict')?.textContent")
    tab.run("location.hash = '#/methods'")
    tab.until("document.querySelector('.command')")
    tab.run("document.querySelector('#skip').click()")
    assert tab.run("document.activeElement.id") == "main" and tab.run("location.hash") == "#/methods"
    assert browser.wrong == []


def test_a_lock_is_said_and_an_unlock_goes_on_by_itself(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "locked")
    assert host.cli("lock").returncode == 0
    try:
        tab.until(f"{LINE}.startsWith('the host is locked, since ')")
        late = browser.tab(tab.run("location.origin + '/'"))  # and one that is opened meanwhile
        late.until(f"{LINE}.startsWith('the host is locked, since ')")
    finally:
        assert host.cli("unlock").returncode == 0
    late.until("document.querySelector('#verdict')?.textContent")
    goes_on(host, tab)


def test_a_reload_and_the_death_of_primary_are_gone_through(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "steady")
    assert host.cli("reload").returncode == 0
    goes_on(host, tab)
    host.kill("primary")
    tab.until(f"{LINE}.startsWith('offline since ')")
    goes_on(host, tab)
    assert host.cli("client", "revoke", "steady").returncode == 0
    tab.until(f"{LINE}.startsWith('closed: rejected')")
    assert tab.run("document.querySelectorAll('nav a').length") == 0


def test_a_network_that_is_silent_is_seen_and_what_comes_again_is_used(
    host: RunningHost, browser: ConsoleBrowser
) -> None:
    with StoppedRelay(host.port) as relay:
        link = link_of(host, "away").replace(f":{host.port}/", f":{relay.port}/")
        tab = browser.tab(link)
        enrol(tab)
        tab.until("document.querySelector('#verdict')?.textContent")
        relay.stop()  # no end of any connection is seen: nothing comes any more
        tab.until(f"{LINE}.startsWith('offline since ')")
        relay.go_on()
        tab.run("dispatchEvent(new Event('online'))")  # as browsers tell it
        goes_on(host, tab)
