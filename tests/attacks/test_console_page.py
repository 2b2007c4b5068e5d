"""Attacked sentence: nothing that others say runs in the page, no other site reaches it, and a changed page is seen.

All over the real door in a real Chromium, which tells of each error and of each report of the page's policy.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.hostile_package.hostile import TEXTS
from hosts.running_host import RunningHost, running
from hosts.shown_page import open_screen
from hosts.web_client import WebPeer

from tlsrt.config.console_page import digest_of, read_page
from tlsrt.errors import TlsrtError

pytestmark = pytest.mark.once  # the page and the browser know no version of Python

PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "hostile_package" / "hostile"
HOSTILE = "third/hostile"
ALLOWED = (
    f"{HOSTILE}: *",
    "third/status: *",
    "primary/events: *",
    "secondary/logs: *",
    "secondary/store: *",
    "third/files: *",
)
# A Primary that was captured: it adds a line to one file of the page.
CAPTURED = """
from tlsrt.loops.web import files
_init = files.PageFiles.__init__
def changed(self, found):
    _init(self, {**found, "errors.js": found["errors.js"] + b"globalThis.captured = true\\n"})
files.PageFiles.__init__ = changed
"""
# One that changes what browsers get alone: the compressed form.
CAPTURED_PACKED = """
import dataclasses
from tlsrt.loops.web import files
_file = files._file
def changed(name, body):
    made = _file(name, body)
    if name != "errors.js":
        return made
    packed = _file(name, body + b"globalThis.captured = true\\n").packed
    return Half(made.media_type, packed, made.size, made.digest, made.strict)
class Half(files.PageFile):
    body = property(lambda self: files.zlib.decompress(self.packed, 31)[: self.size])
files._file = changed
"""
MADE = (
    "document.querySelectorAll('main img, main script, main iframe, main [onload], main style, main base, main meta, "
    "main a[href^=javascript], main [ontoggle], main form[action], [onerror], [onfocus], [onmouseover]').length"
)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(
        request, packages=[PACKAGE], components={HOSTILE: {"class": "hostile:Hostile"}},
        policy={f"client/admin -> {HOSTILE}": "*"}, extra={"door": {"console": True}}, detection={"mode": "observe"},
    ):  # fmt: skip
        for name in ("third/status", "secondary/logs"):
            added = host.cli("component", "add", name, "--yes", "--allow", 'client/admin: "*"')
            assert added.returncode == 0, added.stderr
        folder = host.base / "shown"
        folder.mkdir(mode=0o755)
        for text in TEXTS:
            if "/" not in text:
                (folder / text).write_text("x")
        added = host.cli(
            "component", "add", "third/files", "--yes", "--option", f"trees={{shown: {{path: {folder}}}}}",
            "--needs", f"read=[{{path: {folder}, why: shows it}}]", "--allow", 'client/admin: "*"',
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        yield host


def link_of(host: RunningHost, name: str) -> str:
    made = host.cli("console", name, *(word for one in ALLOWED for word in ("--allow", one)), "--json")
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["link"])


def enrolled(host: RunningHost, browser: ConsoleBrowser, name: str) -> Tab:
    tab = browser.tab(link_of(host, name))
    tab.until("document.querySelector('#enrol')")
    tab.run("document.querySelector('#enrol').requestSubmit()")
    tab.until("document.querySelector('#verdict')?.textContent")
    return tab


def choose(tab: Tab, method: str) -> None:
    for name, value in (("component", HOSTILE), ("method", method)):
        tab.until(f"[...document.querySelectorAll('#{name} option')].some((one) => one.value === '{value}')")
        tab.run(
            f"document.querySelector('#{name}').value = '{value}';"
            f"document.querySelector('#{name}').dispatchEvent(new Event('change'))"
        )
    tab.until(f"document.querySelector('form h3')?.textContent === '{HOSTILE} {method}'")


def call(tab: Tab, method: str) -> None:
    choose(tab, method)
    tab.run("document.querySelector('form').requestSubmit()")
    tab.run("document.querySelector('dialog #yes')?.click()")


def test_no_text_of_others_becomes_markup(host: RunningHost) -> None:
    """Documentation, results, items, errors, log lines, last words of a process, names: through every screen."""
    client = host.client()
    client.call(HOSTILE, "say")
    for text in TEXTS:  # keys and values of a component that means well
        client.call("secondary/store", "put", text, {text: text})
    with suppress(TlsrtError):
        client.call(HOSTILE, "die")  # its last words are in events, and in its line of the status
    host.until(lambda status: all(one["state"] == "active" for one in status["loops"]), "process that is back")
    first = json.dumps(TEXTS[0])
    with ConsoleBrowser(host.admin.ca_pem) as browser:
        tab = enrolled(host, browser, "target")
        seen: dict[str, bool] = {}
        screens = tab.run("[...document.querySelectorAll('nav a')].map(one => one.hash)")
        for screen in screens:
            open_screen(tab, screen)
            if screen == "#/logs":
                tab.until(f"document.querySelector('main').textContent.includes({first})")
            if screen == "#/files":
                tab.until("document.querySelector('main [data-key=\"in shown\"]')")
                tab.run("document.querySelector('main [data-key=\"in shown\"]').click()")
                tab.until(f"document.querySelector('main').textContent.includes({first})")
            seen[screen] = tab.run(f"document.querySelector('main').textContent.includes({first})")
            assert tab.run(MADE) == 0, screen
        tab.run("location.hash = '#/methods'")
        tab.until("document.querySelector('.command')")
        for method in ("give", "items", "fail"):
            call(tab, method)
            tab.until(f"document.querySelector('.result')?.textContent.includes({first})")
            assert tab.run(MADE) == 0, method
        assert seen["#/logs"] and seen["#/files"]
        tab.run("new Promise((done) => setTimeout(done, 300))")  # an image that fails to load would tell it by now
        assert tab.run("globalThis.ran ?? null") is None
        assert browser.wrong == []


@contextmanager
def evil_site(page: str) -> Iterator[str]:
    """Serve one page of another origin."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def test_another_site_can_neither_frame_nor_read_nor_connect(host: RunningHost) -> None:
    """Even one on the same address, from a browser that is enrolled here."""
    home = f"https://127.0.0.1:{host.port}"
    tries = f"""await (async () => {{
      const said = {{}}
      const name = (work) => Promise.resolve().then(work).then((value) => value ?? 'done', (error) => error.name)
      const socket = (protocol) => new Promise((done) => {{
        const made = new WebSocket('wss://127.0.0.1:{host.port}/tlsrt', protocol)
        made.onopen = () => done('open')
        made.onerror = () => done('refused')
      }})
      said.client = await socket('tlsrt.1')
      said.enrolment = await socket('tlsrt-enrol.1')
      said.read = await name(() => fetch('{home}/app.js'))
      said.blind = await name(() => fetch('{home}/app.js', {{ mode: 'no-cors', credentials: 'include' }}))
      said.post = await name(() => fetch('{home}/tlsrt', {{ method: 'POST', mode: 'no-cors', body: 'x' }}))
      said.module = await name(() => import('{home}/client.js').then(() => 'loaded'))
      said.script = await new Promise((done) => {{
        const made = document.createElement('script')
        made.src = '{home}/errors.js'
        made.onload = () => done('loaded')
        made.onerror = () => done('refused')
        document.body.append(made)
      }})
      const frame = document.createElement('iframe')
      frame.src = '{home}/'
      const loaded = new Promise((done) => {{ frame.onload = done }})
      document.body.append(frame)
      await loaded
      said.frame = frame.contentDocument === null ? 'closed' : 'open'
      return said
    }})()"""
    with ConsoleBrowser(host.admin.ca_pem) as browser, evil_site("<!doctype html><title>x</title><body>") as evil:
        tab = enrolled(host, browser, "visitor")
        tab.run("globalThis.mine = true")
        other = browser.tab(evil)
        browser.wrong.clear()
        assert other.run(tries) == {
            "client": "refused", "enrolment": "refused", "read": "TypeError", "blind": "TypeError", "post": "TypeError",
            "module": "TypeError", "script": "refused", "frame": "closed",
        }  # fmt: skip
        assert any("frame-ancestors" in one or "Refused to display" in one for one in browser.wrong), browser.wrong
        # a form leaves the site, and gets a refusal instead of the page
        other.run(
            f"document.body.insertAdjacentHTML('beforeend', '<form method=post action=\"{home}/\">"
            "<input name=a value=b></form>'); document.querySelector('form').submit()"
        )
        other.until("document.body?.innerText.includes('no body')")
        # what it opens cannot be reached by it
        other.go(evil)
        assert other.run(f"globalThis.opened = open('{home}/'), true")
        other.until("opened === null || opened.closed")
        assert tab.run("mine") and tab.run("document.querySelector('#connection').textContent") == "connected"


def test_a_name_that_leads_here_gets_no_page(host: RunningHost) -> None:
    """DNS rebinding: a name of an attacker that leads to this address by now."""
    with ConsoleBrowser(host.admin.ca_pem, "--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        tab = browser.tab(f"https://evil.example:{host.port}/")
        tab.until("document.body?.innerText.includes('421 Misdirected Request')")
        socket = "new WebSocket(`wss://${location.host}/tlsrt`, 'tlsrt.1')"
        opened = f"""await new Promise((done) => {{
          const made = {socket}
          made.onopen = () => done('open')
          made.onerror = () => done('refused')
        }}).catch((error) => error.name)"""
        assert tab.run(opened) == "refused"


async def served(host: RunningHost) -> dict[str, bytes]:
    """Return the files of the page as a stranger gets them."""
    found = {}
    for name in read_page():  # each on a connection of its own, which has 64 requests
        async with WebPeer(host.admin.ca_pem, host.port) as peer:
            status, fields, body = await peer.ask(f"/{name}", accept_encoding="gzip")
        assert status == 200 and fields["content-encoding"] == "gzip", name
        found[name] = gzip.decompress(body)
    return found


def test_the_page_of_an_honest_door_is_the_one_that_is_installed(host: RunningHost) -> None:
    told = host.cli("console", "--check")
    assert told.returncode == 0 and digest_of(read_page()) in told.stdout, told.stderr
    elsewhere = host.cli("console", "--check", "--address", f"127.0.0.2:{host.port}")
    assert elsewhere.returncode != 0 and elsewhere.stderr.count("\n") == 1, elsewhere.stderr


@pytest.mark.parametrize("prelude", [CAPTURED, CAPTURED_PACKED], ids=["both_forms", "packed_form"])
def test_a_page_that_primary_changed_is_seen_by_the_hash_of_the_command(prelude: str) -> None:
    with RunningHost(extra={"door": {"console": True}}, prelude=prelude) as host:
        said = json.loads(host.cli("console", "careful", "--json").stdout)
        got = asyncio.run(asyncio.wait_for(served(host), 60))
        with ConsoleBrowser(host.admin.ca_pem) as browser:
            tab = browser.tab(said["link"])
            tab.until("globalThis.captured")  # it runs: the browser cannot know
        assert said["page"] == digest_of(read_page()) != digest_of(got)
        changed = [name for name, body in got.items() if hashlib.sha256(body).hexdigest() != said["files"][name]]
        assert changed == ["errors.js"]
        told = host.cli("console", "--check")
        assert told.returncode == 1
        assert "errors.js" in told.stdout + told.stderr and said["page"] in told.stdout + told.stderr
