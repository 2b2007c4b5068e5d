"""The screens of store, services and updates in a real Chromium at a real host: what they do, and show as text.

The store is the real one. Components of the test stand in the places of services and updates: their words are hostile,
and they keep what was called.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.readable_page import unreadable
from hosts.running_host import RunningHost, running
from hosts.standing_package.standing import PLAN, TEXTS
from tools.axe import need_axe

from tlsrt import Client

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
STORE, SERVICES, UPDATES = "secondary/store", "secondary/services", "secondary/updates"
PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "standing_package" / "standing"
INJECTIONS = Path(__file__).resolve().parents[1] / "attacks" / "injections"
STILL = {"name": "prefers-reduced-motion", "value": "reduce"}
MADE = "document.querySelectorAll('main img, main script, main svg, main [style], main [onload], main iframe').length"
AXE = "axe.run().then(found => found.violations.map(one => [one.id, one.nodes.slice(0, 2).map(node => node.html)]))"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], extra=CONSOLE,
        components={SERVICES: {"class": "standing:Services"}, UPDATES: {"class": "standing:Updates"}},
        policy={f"client/admin -> {name}": "*" for name in (STORE, SERVICES, UPDATES)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def admin(host: RunningHost) -> Client:
    return host.client()


@pytest.fixture(scope="module")
def page(host: RunningHost) -> Iterator[ConsolePage]:
    with console_page(host, "anna", dict.fromkeys((STORE, SERVICES, UPDATES), '"*"')) as page:
        yield page


def injected() -> list[str]:
    """Return all texts of the corpus of injections that fit into a value."""

    def texts(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield value[:60_000]
        elif isinstance(value, dict | list):
            for one in value.values() if isinstance(value, dict) else value:
                yield from texts(one)

    return [text for path in sorted(INJECTIONS.glob("*.yaml")) for text in texts(yaml.safe_load(path.read_text()))]


def good(page: ConsolePage) -> None:
    """Check that nothing of others became an element or ran, and that no rule of axe is broken, on a telephone too."""
    assert page.run(MADE) == 0 and page.run("globalThis.ran ?? null") is None
    page.ask("Runtime.evaluate", {"expression": need_axe()})
    for scheme, width in (("light", 1280), ("dark", 320)):
        page.ask("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}, STILL]})
        size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 500}
        page.ask("Emulation.setDeviceMetricsOverride", size)
        assert page.run(AXE) == []
        assert unreadable(page, width) == []
    page.ask("Emulation.clearDeviceMetricsOverride")


def test_a_value_is_put_watched_looked_at_in_its_past_and_deleted(page: ConsolePage, admin: Client) -> None:
    page.open_screen("store")
    page.shows("There is no key here")
    page.type_in(key="kettle", value='{"heat": 80}')
    page.press_button("Put it")
    assert "Put kettle?" in page.answer(yes=False)
    assert admin.call(STORE, "keys") == []
    page.press_button("Put it")
    assert "tlsrt call secondary/store put" in page.answer(yes=True)
    page.shows("Put it: done")
    assert admin.call(STORE, "get", "kettle") == {"heat": 80}
    admin.call(STORE, "put", "kettle", "off")  # another client's: it comes by the watch
    page.until("[...document.querySelectorAll('main table')].at(-1).textContent.includes('put')")
    page.press_button("Show", "kettle")
    page.shows("kettle, revision 2")
    page.until("[...document.querySelectorAll('main pre')].some(one => one.textContent === 'off')")
    page.until("document.querySelector('[aria-label=\"Show: 1\"]')")
    page.run("document.querySelector('[aria-label=\"Show: 1\"]').click()")
    page.shows("kettle, as it was at revision 1")
    page.until("[...document.querySelectorAll('main pre')].some(one => one.textContent.includes('80'))")
    page.press_button("Delete", "kettle")
    page.answer(yes=True)
    page.shows("There is no key here")
    page.shows("deleted")


def test_keys_and_values_of_others_are_text(page: ConsolePage, admin: Client) -> None:
    page.open_screen("store")
    for text in TEXTS:
        key = "".join(one for one in text if one.isprintable())[:256]
        admin.call(STORE, "put", key, {text: text})
        page.until(f"document.querySelector({selector('look', key)})")
        page.run(f"document.querySelector({selector('look', key)}).click()")
        page.until("document.querySelector('main h3')?.textContent.includes('revision')")
    for at, text in enumerate(injected()):
        revision = admin.call(STORE, "put", "text", text)["revision"]
        if at % 8 == 0:
            page.until(f"document.querySelector({selector('look', 'text')})")
            page.run(f"document.querySelector({selector('look', 'text')}).click()")
            page.shows(f"text, revision {revision}")
    good(page)


def selector(verb: str, key: str) -> str:
    """Return a selector of a button by its key, as a string of JavaScript."""
    escaped = f"{verb} {key}".replace("\\", "\\\\").replace('"', '\\"')
    return "'[data-key=\"" + escaped.replace("\\", "\\\\").replace("'", "\\'") + "\"]'"


def test_a_missing_right_has_no_button_and_a_namespace_of_others_stays_closed(host: RunningHost) -> None:
    with console_page(host, "bob", {STORE: "[keys]", SERVICES: "[list]", UPDATES: "[plan]"}) as other:
        for name in ("store", "units", "updates"):
            other.open_screen(name)
            other.until("document.querySelector('.fresh')?.textContent.startsWith('as of')")
            assert other.run("document.querySelectorAll('main .scrolls button, main form').length") == 0, name
        other.open_screen("store")
        other.type_in(namespace="client/anna")
        other.until("document.querySelector('.fresh.error')?.textContent.includes('client/anna')")


def test_a_unit_is_stopped_after_a_yes_alone_and_a_command_runs_with_its_words(
    page: ConsolePage, admin: Client
) -> None:
    page.open_screen("units")
    page.press_button("Stop", "kettle.service")
    assert "Stop kettle.service?" in page.answer(yes=False)
    assert admin.call(SERVICES, "called") == []
    page.press_button("Stop", "kettle.service")
    assert "tlsrt call secondary/services stop_unit unit=kettle.service" in page.answer(yes=True)
    page.until("document.querySelector('main tbody tr').textContent.includes('inactive')")
    page.press_button("Start", "kettle.service")
    page.until("document.querySelector('main [role=alert]')")  # it says why not, in hostile words
    page.press_button("Look", "kettle.service")
    page.shows("onmouseover")
    page.run("(one => { one.value = 'fast  twice' })(document.querySelector('[data-key=\"words descale\"]'))")
    page.press_button("Run now", "descale")
    page.answer(yes=True)
    page.shows("descale.service")
    called = [
        ["stop_unit", "kettle.service"],
        ["start_unit", "kettle.service"],
        ["run_job", "descale", "fast", "twice"],
    ]
    assert admin.call(SERVICES, "called") == called
    assert page.run("document.querySelectorAll('main tbody tr').length") >= len(TEXTS)
    good(page)


def test_updates_are_a_plan_first_and_exactly_that_after_a_yes(page: ConsolePage, admin: Client) -> None:
    page.open_screen("updates")
    page.press_button(f"Upgrade these {len(TEXTS)}")
    assert f"exactly this plan ({PLAN[:20]}" in page.answer(yes=False)
    assert admin.call(UPDATES, "called") == []
    page.press_button(f"Upgrade these {len(TEXTS)}")
    page.answer(yes=True)
    page.shows("<script>ran=1</script>")
    page.until("document.querySelector('main pre')?.textContent.includes('onmouseover')")
    assert admin.call(UPDATES, "called") == [PLAN]
    good(page)


PRESS = """
const { Client } = await import('/client.js'), tell = Client.prototype.dispatchEvent
globalThis.told = []
Client.prototype.dispatchEvent = function (event) {
  told.push(event.type)
  if (event.type === 'offline' && told.filter((one) => one === 'offline').length === 1) BUTTON.click()
  return tell.call(this, event)
}
"""


def press_when_it_ends(page: ConsolePage, button: str) -> None:
    """Have a button pressed in the moment in which the connection ends."""
    page.run(f"(async () => {{ {PRESS.replace('BUTTON', button)} }})()")


def test_an_act_right_after_rights_have_changed_waits_for_the_connection(host: RunningHost, admin: Client) -> None:
    admin.call(SERVICES, "stop_unit", "kettle.service")  # so that it can be started
    before = len(admin.call(SERVICES, "called"))
    with console_page(host, "carol", {SERVICES: '"*"', STORE: '"*"'}) as page:
        page.open_screen("units")
        start = "document.querySelector('[data-key=\"start kettle.service\"]')"
        page.until(start)
        press_when_it_ends(page, start)
        changed = host.cli("client", "set", "carol", "--allow", f"{SERVICES}: *", "--allow", f"{STORE}: [put, keys]")
        assert changed.returncode == 0, changed.stderr
        page.until("told.includes('online')")
        page.until("document.querySelector('main [role=alert]')?.textContent.includes('img src')")  # it has run
        assert admin.call(SERVICES, "called")[before:] == [["start_unit", "kettle.service"]]
        page.open_screen("store")
        page.type_in(key="lamp", value="on")
        page.run("void (told.length = 0)")
        press_when_it_ends(page, "document.querySelector('main form button')")
        changed = host.cli("client", "set", "carol", "--allow", f"{STORE}: [put, get, keys]")
        assert changed.returncode == 0, changed.stderr
        assert "Put lamp?" in page.answer(yes=True)
        page.shows("Put it: done")
        assert admin.call(STORE, "get", "lamp") == "on"


def test_an_act_waits_for_some_seconds_only_and_is_not_done_later(host: RunningHost) -> None:
    host.client().call(SERVICES, "stop_unit", "kettle.service")
    with console_page(host, "dora", {SERVICES: '"*"'}) as page:
        page.open_screen("units")
        start = "document.querySelector('[data-key=\"start kettle.service\"]')"
        page.until(start)
        press_when_it_ends(page, start)
        begun_s = time.monotonic()
        host.stop()
        page.shows("waits for the connection")
        page.shows("There is no connection to the host: nothing was done")
        assert time.monotonic() - begun_s > 5
        host.start()
        page.until("told.includes('online')")
        page.until("document.querySelector('.fresh')?.textContent.startsWith('as of')")
        assert host.client().call(SERVICES, "called") == []
        page.wrong.clear()  # connections that were refused while there was no host
