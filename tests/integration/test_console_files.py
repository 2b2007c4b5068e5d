"""The screen of files in a real Chromium at a real host: what comes and goes is the same bytes, or is not there."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.readable_page import unreadable
from hosts.running_host import RunningHost, running

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
FILES = "third/files"
STILL = {"name": "prefers-reduced-motion", "value": "reduce"}
MIB = 1 << 20
ENTRIES = "[...document.querySelectorAll('main tbody tr')].map(row => row.cells[0].textContent)"
# A file of this origin's own file system in the place of one that a person names; it waits behind `at` bytes.
PICKED = """(() => {
  window.saved = null; window.held = false
  const going = new Promise(resolve => { window.go = resolve })
  window.showSaveFilePicker = async ({ suggestedName }) => {
    window.suggested = suggestedName
    const handle = await (await navigator.storage.getDirectory()).getFileHandle(%(name)s, { create: true })
    return { async createWritable() {
      const writer = await handle.createWritable()
      let count = 0
      return { async write(bytes) {
        count += bytes.length
        if (count > %(at)d) { window.held = true; await going }
        await writer.write(bytes)
      }, close: () => writer.close(), abort: () => writer.abort() }
    } }
  }
})()"""
HASH = """(async () => {
  const handle = await (await navigator.storage.getDirectory()).getFileHandle(%s)
  const digest = await crypto.subtle.digest('SHA-256', await (await handle.getFile()).arrayBuffer())
  return Array.from(new Uint8Array(digest), one => one.toString(16).padStart(2, '0')).join('')
})()"""
# Reading of chosen files waits from the piece with this number on.
SLOW_READING = """(() => {
  window.reading = 0
  const going = new Promise(resolve => { window.go = resolve }), before = Blob.prototype.arrayBuffer
  Blob.prototype.arrayBuffer = async function () {
    if (++window.reading > %d) await going
    return before.call(this)
  }
})()"""


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="tlsrt-tree."))
    base.chmod(0o755)
    (base / "work").mkdir()
    (base / "work").chmod(0o777)
    yield base / "work"
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tree: Path) -> Iterator[RunningHost]:
    for host in running(request, extra={**CONSOLE, "supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}):
        trees = {"work": {"path": str(tree), "rights": "rw"}}
        needs = [{"path": str(tree), "why": "a tree"}]
        added = host.cli(
            "component", "add", FILES, "--yes", "--allow", 'client/admin: "*"',
            "--option", f"trees={json.dumps(trees)}", "--needs", f"write={json.dumps(needs)}",
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture(scope="module")
def opened(host: RunningHost) -> Iterator[ConsolePage]:
    with console_page(host, "phone", {FILES: '"*"'}) as page:
        yield page


@pytest.fixture
def page(opened: ConsolePage, host: RunningHost) -> ConsolePage:
    """The tree, from its beginning."""
    opened.go(f"https://127.0.0.1:{host.port}/#/files")
    opened.until("document.querySelector('main tbody')")
    opened.press_button("work")
    opened.shows("Send files to work")
    return opened


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)  # not for keys


def put_in(tree: Path, name: str, data: bytes) -> str:
    (tree / name).write_bytes(data)
    (tree / name).chmod(0o644)
    return hashlib.sha256(data).hexdigest()


def counters(host: RunningHost) -> dict[str, Any]:
    return dict(host.client().call(FILES, "metrics")["counters"])


def test_a_folder_is_shown_as_it_changes_and_names_are_text(page: ConsolePage, tree: Path) -> None:
    page.shows("This folder is empty")
    names = ["<img src=x onerror=alert(1)>", "\u202egnp.exe", "tab\u2028line\u200b", "ä" * 127]
    for name in names:
        put_in(tree, name, b"x")
    page.until(f"{ENTRIES}.length === {len(names)}")
    shown = page.run(ENTRIES)
    assert (
        "<img src=x onerror=alert(1)>" in shown and "\\u{202e}gnp.exe" in shown and "tab\\u{2028}line\\u{200b}" in shown
    )
    assert f"{'ä' * 120}…" in shown and page.run("document.querySelectorAll('main img').length") == 0
    for name in names:
        (tree / name).unlink()
    page.shows("This folder is empty")


def test_a_file_goes_up_and_comes_down_with_the_same_hash(
    page: ConsolePage, host: RunningHost, tree: Path, tmp_path: Path
) -> None:
    data = content(3 * MIB + 17)
    (tmp_path / "photo.jpg").write_bytes(data)
    page.type_in(folder="May 2026")
    page.press_button("Make this folder")
    page.press_button("May 2026")
    page.shows("Send files to work/May 2026")
    page.choose_files("#send", str(tmp_path / "photo.jpg"))
    digest = hashlib.sha256(data).hexdigest()
    page.shows(f"complete: 3.0 MiB, SHA-256 {digest}")
    assert (tree / "May 2026" / "photo.jpg").read_bytes() == data
    page.run(PICKED % {"name": "'photo'", "at": 1 << 40})
    page.press_button("Fetch", "photo.jpg")
    page.until("document.querySelectorAll('.transfers li').length === 2")
    page.until("document.querySelectorAll('.transfers progress').length === 0")
    assert page.run(HASH % "'photo'") == digest and page.run("window.suggested") == "photo.jpg"
    # It is there already: the question's No changes nothing, its Yes replaces it.
    (tmp_path / "photo.jpg").write_bytes(b"another")
    page.choose_files("#send", str(tmp_path / "photo.jpg"))
    assert "photo.jpg is there already" in page.answer(yes=False)
    assert (tree / "May 2026" / "photo.jpg").read_bytes() == data
    page.choose_files("#send", str(tmp_path / "photo.jpg"))
    page.answer(yes=True)
    page.shows("complete: 7 B")
    assert (tree / "May 2026" / "photo.jpg").read_bytes() == b"another"
    page.press_button("Delete for good", "photo.jpg")
    assert "Delete photo.jpg for good?" in page.answer(yes=False) and (tree / "May 2026" / "photo.jpg").exists()
    page.press_button("Delete for good", "photo.jpg")
    asked = page.answer(yes=True)
    assert "tlsrt call third/files remove 'path=work/May 2026/photo.jpg'" in asked
    page.shows("This folder is empty")
    assert not (tree / "May 2026" / "photo.jpg").exists()


def test_a_download_goes_on_after_its_connection_was_lost(page: ConsolePage, host: RunningHost, tree: Path) -> None:
    digest = put_in(tree, "large.bin", content(12 * MIB, 1))
    page.run(PICKED % {"name": "'large'", "at": 4 * MIB})
    before = counters(host).get("sent_bytes", 0)
    page.press_button("Fetch", "large.bin")
    page.until("window.held")
    after = len(host.console)
    host.kill("primary")
    host.wait_for(r"^primary +active ", after=after)
    page.until("/since .* third.files does not answer/.test(document.querySelector('.fresh').textContent)")
    page.run("window.go()")
    page.shows(f"complete: 12.0 MiB, SHA-256 {digest}")
    assert page.run(HASH % "'large'") == digest
    sent = counters(host)["sent_bytes"] - before
    assert 12 * MIB <= sent < 16 * MIB, sent  # it went on, and did not begin anew
    page.until("document.querySelector('.fresh').textContent.startsWith('as of')")
    (tree / "large.bin").unlink()


def test_a_file_that_changes_meanwhile_is_not_mixed(page: ConsolePage, host: RunningHost, tree: Path) -> None:
    put_in(tree, "mixed.bin", content(8 * MIB, 2))
    page.run(PICKED % {"name": "'mixed'", "at": 2 * MIB})
    page.press_button("Fetch", "mixed.bin")
    page.until("window.held")
    put_in(tree, "mixed.new", content(8 * MIB, 3))
    (tree / "mixed.new").rename(tree / "mixed.bin")
    host.respawn("third.files")
    page.run("window.go()")
    page.shows("conflict: the file was changed meanwhile: fetch it again")
    assert page.run(HASH % "'mixed'") == hashlib.sha256(b"").hexdigest()  # the picker's own empty file
    (tree / "mixed.bin").unlink()


def test_an_upload_that_was_cut_goes_on_also_after_the_page_was_closed(
    page: ConsolePage, host: RunningHost, tree: Path, tmp_path: Path
) -> None:
    data = content(12 * MIB, 4)
    (tmp_path / "film.bin").write_bytes(data)
    pieces = len(data) // (128 * 1024)
    page.run(SLOW_READING % (pieces + pieces // 2))  # all is read for the hash, then half of it is sent
    before = counters(host).get("received_bytes", 0)
    page.choose_files("#send", str(tmp_path / "film.bin"))
    page.until(f"window.reading > {pieces + pieces // 2}")
    while not (kept := [*(tree / ".tlsrt-uploads").glob("*")]) or kept[0].stat().st_size < 5 * MIB:
        time.sleep(0.01)
    page.go(f"https://127.0.0.1:{host.port}/#/files")
    page.until("document.querySelector('main tbody')")
    assert (
        len(page.wrong) == 1 and "beforeunload" in page.wrong.pop()
    )  # a person would have been asked whether to leave
    page.press_button("work")
    page.choose_files("#send", str(tmp_path / "film.bin"))
    page.shows(f"SHA-256 {hashlib.sha256(data).hexdigest()}")
    assert (tree / "film.bin").read_bytes() == data
    received = counters(host)["received_bytes"] - before
    assert received <= 8 * MIB, received  # the rest alone (what was cut is not counted as received)


def test_a_browser_without_a_picker_gets_it_as_a_download(page: ConsolePage, tree: Path, tmp_path: Path) -> None:
    digest = put_in(tree, "small\u202e.bin", content(MIB, 5))
    page.run("window.showSaveFilePicker = undefined")
    page.ask("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.press_button("Fetch", "small\\u{202e}.bin")
    page.shows(f"complete: 1.0 MiB, SHA-256 {digest}")
    end = time.monotonic() + 30
    while not (found := [*tmp_path.glob("*.bin")]):
        assert time.monotonic() < end, [*tmp_path.iterdir()]
        time.sleep(0.02)
    assert found[0].name == "small_.bin" and hashlib.sha256(found[0].read_bytes()).hexdigest() == digest
    (tree / "small\u202e.bin").unlink()


def test_without_the_right_it_says_with_which_command_it_is(host: RunningHost) -> None:
    with console_page(host, "looker", {FILES: "[stat]"}) as page:
        page.open_screen("files")
        page.shows("tlsrt-supervisor component add third/files")
        assert "client/looker: [list, stat" in page.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_telephone(page: ConsolePage, tree: Path, scheme: str) -> None:
    for name in ("a" * 255, "<b>", "photo.jpg"):
        put_in(tree, name, b"x")
    page.shows("photo.jpg")
    page.ask("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}, STILL]})
    page.ask(
        "Emulation.setDeviceMetricsOverride", {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    assert unreadable(page, 320) == []
    page.ask("Emulation.clearDeviceMetricsOverride")
