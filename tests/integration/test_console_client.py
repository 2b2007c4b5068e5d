"""The console's client in a real Chromium at a real host: from the link to calls, and every way in which that ends."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.running_host import RunningHost, running

from tlsrt.supervisor.cli.main import main

PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "console_package" / "shown"
SHOWN, STORE = "third/shown", "secondary/store"
WAIT_S = 40.0
MODULES = """
globalThis.tlsrt = await import('/client.js')
globalThis.seen = []
globalThis.begin = async () => {
  globalThis.client = await tlsrt.connect(await tlsrt.loadIdentity())
  for (const name of ['rights', 'online', 'offline', 'locked', 'closed'])
    client.addEventListener(name, ({ detail }) => seen.push([name, detail?.code ?? '']))
}
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], components={SHOWN: {"class": "shown:Shown", "process": "shared"}},
        policy={f"client/admin -> {SHOWN}": "*"}, extra={"door": {"console": True}},
    )  # fmt: skip


@pytest.fixture
def browser(host: RunningHost) -> Iterator[ConsoleBrowser]:
    with ConsoleBrowser(host.admin.ca_pem) as made:
        yield made


def supervisor(host: RunningHost, *words: str) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        assert main([*words, "--config", str(host.config_path)]) == 0, said.getvalue()
    return said.getvalue()


def code_for(host: RunningHost, name: str) -> str:
    allow = ["--allow", f'{SHOWN}: "*"', "--allow", f"{STORE}: [get]"]
    return str(json.loads(supervisor(host, "client", "add", name, *allow, "--json"))["code"])


def address(host: RunningHost) -> str:
    """Return a document of the page's origin in which nothing runs but what the test says."""
    return f"https://127.0.0.1:{host.port}/style.css"


def page(host: RunningHost, browser: ConsoleBrowser, code: str = "") -> Tab:
    """Open a page of the host, by a link if there is a code."""
    tab = browser.tab(f"{address(host)}{'#' * bool(code)}{code}")
    tab.run(MODULES)
    return tab


def enrolled(host: RunningHost, browser: ConsoleBrowser, name: str) -> Tab:
    """Go to the host by a link, as a person does, and connect."""
    tab = page(host, browser, code_for(host, name))
    tab.run("globalThis.code = tlsrt.takeCode()")
    assert tab.run("location.href") == address(host)
    tab.run("await tlsrt.enrol({ url: location.href, code })")
    tab.run("await begin()")
    return tab


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, f"there was no {what}"


def saw(tab: Tab, name: str) -> Callable[[], object]:
    return lambda: any(event == name for event, _ in tab.run("seen"))


def test_from_the_link_to_calls_streams_and_uploads(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "phone")
    assert tab.run("client.subject") == "client/phone"
    assert tab.run("client.host.name") == f"127.0.0.1:{host.port}"
    assert tab.run(f"client.rights.get('{SHOWN}')") == {"methods": ["*"], "running": True}
    value = {"text": "hällo", "list": [0, -1, 2**40, 1.5, None, True], "map": {"__proto__": 1}}
    assert tab.run(f"await client.call('{SHOWN}', 'echo', [JSON.parse({json.dumps(json.dumps(value))})])") == value
    assert tab.run(f"(await client.call('{SHOWN}', 'echo', ['x'.repeat(200000)])).length") == 200_000
    assert "echo" in json.dumps(tab.run(f"await client.describe('{SHOWN}')"))
    numbers = (
        f"let sum = 0; for await (const item of client.stream('{SHOWN}', 'numbers', [1000])) sum += item; return sum"
    )
    assert tab.run(f"await (async () => {{ {numbers} }})()") == 499_500
    parts = "(function* () { for (let at = 0; at < 20; at++) yield new Uint8Array(200000) })()"
    assert tab.run(f"await client.upload('{SHOWN}', 'size', ['a'], {parts})") == 4_000_000
    assert tab.code_of(f"await client.call('{STORE}', 'put', ['a', 1])") == "denied"
    assert tab.code_of(f"await client.call('{STORE}', 'get', ['no such key'])") == "not_found"
    assert tab.code_of(f"await client.call('{SHOWN}', 'echo', [])") == "invalid_argument"
    assert "phone" in supervisor(host, "client", "list")


def test_its_key_cannot_be_read_and_is_there_after_a_reload(host: RunningHost, browser: ConsoleBrowser) -> None:
    enrolled(host, browser, "tablet")
    other = page(host, browser)  # another tab, with nothing but what is kept
    assert other.run("(await tlsrt.loadIdentity()).privateKey.extractable") is False
    exported = "crypto.subtle.exportKey('pkcs8', (await tlsrt.loadIdentity()).privateKey).catch((error) => error.name)"
    assert other.run(f"await {exported}") == "InvalidAccessError"
    other.run("await begin()")
    assert other.run(f"await client.call('{SHOWN}', 'echo', [1])") == 1
    assert (
        other.code_of(f"await tlsrt.enrol({{ url: location.href, code: '{code_for(host, 'twice')}' }})") == "conflict"
    )
    other.run("client.close(); await tlsrt.forget()")
    assert other.run("await tlsrt.loadIdentity()") is None


def test_a_link_works_once_and_says_so_to_the_other(host: RunningHost, browser: ConsoleBrowser) -> None:
    """One that was stolen and used first leaves its owner with an error that says whom to tell."""
    code = code_for(host, "stolen")
    with ConsoleBrowser(host.admin.ca_pem) as thief:
        page(host, thief).run(f"await tlsrt.enrol({{ url: location.href, code: '{code}' }})")
    owner = page(host, browser, code)
    words = "(error) => error.code + ' ' + error.message"
    said = owner.run(f"await tlsrt.enrol({{ url: location.href, code: '{code}' }}).catch({words})")
    assert said.startswith("denied ") and "another person may have" in said
    assert owner.run("await tlsrt.loadIdentity()") is None
    wrong = code[:-33] + "-" + "a" * 32
    assert "not the host" in owner.run(f"await tlsrt.enrol({{ url: location.href, code: '{wrong}' }}).catch(String)")
    assert owner.code_of(f"await tlsrt.enrol({{ url: location.href, code: '{code[:-1]}' }})") == "invalid_argument"


def test_a_wrong_secret_is_refused_and_a_good_one_still_works(host: RunningHost, browser: ConsoleBrowser) -> None:
    code = code_for(host, "guessed")
    id, secret, pin = code.split("-")
    guess = f"{id}-{'b' if secret[0] == 'a' else 'a'}{secret[1:]}-{pin}"
    tab = page(host, browser)
    assert tab.code_of(f"await tlsrt.enrol({{ url: location.href, code: '{guess}' }})") == "denied"
    assert tab.code_of(f"await tlsrt.enrol({{ url: location.href, code: '{code}' }})") == "none"


def test_a_revoked_client_is_closed_for_good(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "lost")
    supervisor(host, "client", "revoke", "lost")
    until(saw(tab, "closed"), "end of a revoked client")
    assert tab.run("seen").count(["closed", "rejected"]) == 1
    assert tab.code_of(f"await client.call('{SHOWN}', 'echo', [1])") == "rejected"


def test_a_call_outlives_primary_and_runs_once(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "steady")
    with host.client() as admin:
        before = admin.call(SHOWN, "runs")
    host.kill("primary")
    assert (
        tab.run(f"await client.call('{SHOWN}', 'echo', ['again'], {{ key: tlsrt.newKey(), timeoutMs: 60000 }})")
        == "again"
    )
    assert saw(tab, "offline")() and saw(tab, "online")()
    assert tab.run("client.offlineSince") is None
    with host.client() as admin:
        assert admin.call(SHOWN, "runs") == before + 1


def test_a_locked_host_says_so_and_the_client_comes_again(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "watcher")
    assert host.cli("lock").returncode == 0
    until(saw(tab, "locked"), "word that the host is locked")
    assert tab.run("client.offlineSince > 0")
    assert host.cli("unlock").returncode == 0
    until(saw(tab, "online"), "session after the host was unlocked")
    assert tab.run(f"await client.call('{SHOWN}', 'echo', [2])") == 2


def test_another_certificate_and_another_issuer_are_kept(host: RunningHost, browser: ConsoleBrowser) -> None:
    tab = enrolled(host, browser, "old")
    before = tab.run("Array.from((await tlsrt.loadIdentity()).certificate)")
    tab.run("await client.renew()")
    assert tab.run("Array.from((await tlsrt.loadIdentity()).certificate)") != before
    assert tab.run("(await tlsrt.loadIdentity()).privateKey.extractable") is False
    assert host.cli("rotate", "--master").returncode == 0
    until(lambda: tab.run("(await tlsrt.loadIdentity()).issuerVersion") == 2, "other issuer in what is kept")
    other = page(host, browser)
    other.run("await begin()")
    assert other.run(f"await client.call('{SHOWN}', 'echo', [3])") == 3
    until(lambda: tab.code_of(f"await client.call('{SHOWN}', 'echo', [4])") == "none", "session of the other tab")
