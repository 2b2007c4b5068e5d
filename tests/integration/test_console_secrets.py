"""The screen of secrets in a real Chromium at a real host: a value goes in, and is nowhere on the page afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.running_host import RunningHost, running

from tlsrt import Client

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
SECRETS, POWER = "secondary/secrets", "forth/power"
VALUE = "correct-horse-battery"
# Everything of the page in which a value could be: markup, properties of fields, storages.
EVERYWHERE = """(async () => {
  const fields = [...document.querySelectorAll('input, textarea')].map(one => one.value + one.getAttribute('value'))
  const databases = await indexedDB.databases()
  return document.documentElement.outerHTML + fields + JSON.stringify({ ...localStorage }) +
    JSON.stringify({ ...sessionStorage }) + JSON.stringify(databases) + location.href + JSON.stringify(history.state)
})()"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, extra=CONSOLE):
        spaces = {"shared": {"read": ["client/admin", "client/anna"], "write": ["client/anna"]}}
        host.cli(  # it cannot run before it has its root
            "component", "add", SECRETS, "--yes", "--allow", 'client/admin: "*"',
            "--option", f"namespaces={json.dumps(spaces)}",
        )  # fmt: skip
        assert host.cli("secret", "make", SECRETS, "root").returncode == 0
        yield host


@pytest.fixture(scope="module")
def admin(host: RunningHost) -> Client:
    return host.client()


@pytest.fixture(scope="module")
def page(host: RunningHost) -> Iterator[ConsolePage]:
    with console_page(host, "anna", {SECRETS: "[names, history, put, rotate, delete]", POWER: '"*"'}) as page:
        yield page


def test_a_value_goes_in_and_is_nowhere_on_the_page(page: ConsolePage, admin: Client) -> None:
    page.open_screen("secrets")
    page.shows("There is no secret here")
    page.type_in(namespace="shared", name="<b>broker</b>", value=VALUE)
    page.press_button("Keep it as the present version")
    page.shows("Keep it as the present version: done")
    page.until("[...document.querySelectorAll('main tr')].some(row => row.textContent.includes('<b>broker</b>'))")
    assert VALUE not in page.run(EVERYWHERE)
    assert admin.call(SECRETS, "get", "<b>broker</b>", namespace="shared")["value"] == VALUE
    page.type_in(name="<b>broker</b>", value="")
    page.press_button("Make a new random value", "<b>broker</b>")
    assert "Make a new random value of <b>broker</b>?" in page.answer(yes=False)
    assert admin.call(SECRETS, "get", "<b>broker</b>", namespace="shared")["version"] == 1
    page.press_button("Make a new random value", "<b>broker</b>")
    page.answer(yes=True)
    page.until("[...document.querySelectorAll('main tr')].some(row => row.cells[1]?.textContent === '2')")
    made = admin.call(SECRETS, "get", "<b>broker</b>", namespace="shared")
    assert made["version"] == 2 and made["value"] != VALUE and made["value"] not in page.run(EVERYWHERE)
    page.press_button("Versions", "<b>broker</b>")
    page.shows("Versions of <b>broker</b>")
    page.until("document.querySelector('main').innerText.includes('client/anna')")  # who put it


def test_a_refused_value_is_gone_from_the_field_too_and_a_missing_right_has_no_button(
    page: ConsolePage, host: RunningHost
) -> None:
    page.open_screen("secrets")
    page.type_in(namespace="foreign", name="x", value=VALUE)
    page.press_button("Keep it as the present version")
    page.until("document.querySelector('main [role=alert]')")
    assert VALUE not in page.run(EVERYWHERE)
    with console_page(host, "bob", {SECRETS: "[names]"}) as other:
        other.open_screen("secrets")
        other.until("document.querySelector('.fresh').textContent.startsWith('as of')")
        assert other.run("document.querySelectorAll('main button').length") == 0


def test_power_is_what_the_service_says(page: ConsolePage, admin: Client) -> None:
    page.open_screen("power")
    page.shows("suspend states")
    page.shows("tlsrt-supervisor component add forth/policy")
    assert "on mains" in page.text() and "batteries" in admin.call(POWER, "status")
