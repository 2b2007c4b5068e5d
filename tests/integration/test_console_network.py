"""The screen of the network in a real Chromium at a real host, both in a network namespace of this test: trials."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.joined_networks import JoinedNetworks, inside, said, until
from hosts.readable_page import unreadable
from hosts.running_host import RunningHost

CONFIGURATION, NETWORK = "external/configuration", "external/network"
STILL = {"name": "prefers-reduced-motion", "value": "reduce"}
WANTED = "interfaces={c0: {up: true, mtu: 1400, addresses: [10.8.0.1/24]}}"
pytestmark = [
    pytest.mark.once,  # the page and the browser know no version of Python
    pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's"),
]


@pytest.fixture(scope="module")
def networks() -> Iterator[JoinedNetworks]:
    made = JoinedNetworks("con")
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(networks: JoinedNetworks) -> Iterator[RunningHost]:
    with inside(networks.host):
        said("ip", "link", "add", "c0", "type", "veth", "peer", "name", "c1", "netns", networks.peer)
        said("ip", "address", "add", "192.0.2.1/24", "dev", "c0")
        made = RunningHost(execute=True, extra=CONSOLE)
        words = ["--option", "confirm_s=4", "--option", WANTED, "--allow", 'client/admin: "*"']
        added = made.cli("component", "add", CONFIGURATION, "--yes", *words)
        assert added.returncode == 0, added.stderr
        with made:
            yield made


@pytest.fixture(scope="module")
def page(host: RunningHost, networks: JoinedNetworks) -> Iterator[ConsolePage]:
    allow = {NETWORK: '"*"', CONFIGURATION: '"*"', "primary/events": '"*"'}
    with inside(networks.host), console_page(host, "anna", allow) as page:
        page.open_screen("network")
        yield page


def mtu(networks: JoinedNetworks) -> int:
    with inside(networks.host):
        return int(json.loads(said("ip", "-j", "link", "show", "dev", "c0"))[0]["mtu"])


def test_a_trial_counts_down_and_is_undone_by_itself(page: ConsolePage, networks: JoinedNetworks) -> None:
    page.shows("link set dev c0 mtu 1400")
    page.shows("address 192.0.2.1/24 of c0 goes")
    page.shows("tlsrt-supervisor component add external/firewall")
    page.shows("None among the last events")
    page.press_button("Do it on trial")
    assert "192.0.2.1/24 of c0 goes" in page.answer(yes=False) and mtu(networks) == 1500
    page.press_button("Do it on trial")
    asked = page.answer(yes=True)
    assert "It is undone by itself" in asked and "tlsrt call external/configuration apply" in asked
    page.until("/is on trial: in [1-4] s it is undone/.test(document.querySelector('[role=timer]').textContent)")
    assert mtu(networks) == 1400
    page.until("document.querySelector('[role=timer]').hidden")
    assert mtu(networks) == 1500
    page.shows("Nothing was confirmed yet")


def test_a_page_that_is_lost_in_a_trial_has_it_undone(
    page: ConsolePage, host: RunningHost, networks: JoinedNetworks
) -> None:
    page.press_button("Do it on trial")
    page.answer(yes=True)
    page.until("!document.querySelector('[role=timer]').hidden")
    page.go("about:blank")
    assert mtu(networks) == 1400
    until(lambda: mtu(networks) == 1500)
    page.go(f"https://127.0.0.1:{host.port}/#/network")
    page.shows("Nothing was confirmed yet")


def test_a_trial_that_is_confirmed_lasts(page: ConsolePage, host: RunningHost, networks: JoinedNetworks) -> None:
    page.press_button("Do it on trial")
    page.answer(yes=True)
    page.until("!document.querySelector('[role=timer]').hidden")
    page.run(
        "[...document.querySelectorAll('main button')].find(one => one.textContent.startsWith('Keep rev')).click()"
    )
    page.until("/Revision \\d+ is kept, confirmed by client.anna/.test(document.querySelector('main').innerText)")
    page.shows("All is as declared")
    confirmed = time.monotonic()
    until(lambda: time.monotonic() > confirmed + 4.5)  # longer than the trial would have been
    assert mtu(networks) == 1400
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}, STILL]
        page.ask("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
        page.ask("Emulation.setDeviceMetricsOverride", size)
        assert unreadable(page, 320) == []
        page.ask("Emulation.clearDeviceMetricsOverride")
