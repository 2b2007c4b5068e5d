"""The proof of the audit log, checked in a real Chromium over the files of a real host, which attackers change."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.audit_log import AuditLog, entries, raw
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.running_host import RunningHost, running
from tools.programs import need
from vectors.runner import FOLDER

import tlsrt.loops
from tlsrt.config import key_schedule
from tlsrt.supervisor.audit.record import Checkpoint, LogEntry, LogRecord

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
PAGE = Path(tlsrt.loops.__path__[0]) / "third" / "console" / "page"
LOGS = "secondary/logs"
OTHER = key_schedule.audit_root(bytes(32))
# A file that was exchanged is opened a moment later, not after 5 s in which the browser checks the old one again.
PRELUDE = """
from tlsrt.loops.secondary import log_sources
log_sources.FRESH_S = 0.2
"""
VECTORS = """
import { readFileSync } from 'node:fs'
import { AuditProof } from PROOF
const { given, must_pass, must_fail } = JSON.parse(readFileSync(FILE)), found = {}
const part = (name) => Number(name.match(/[0-9]+/)[0])
for (const one of [...must_pass, ...must_fail]) {
  const { files } = { ...given, ...one.input }, proof = new AuditProof(), SLICES
  try {
    for (const [name, data] of files) for (const piece of pieces(Buffer.from(data, 'hex')))
      await proof.take(part(name), true, Uint8Array.from(piece))
  } catch (error) { if (!proof.report.fault) throw error }
  const { fault, ...rest } = await proof.end()
  found[one.name] = { ...rest, install: null, fault: fault && [fault.file, fault.sequence, fault.word] }
}
console.log(JSON.stringify(found))"""
WHOLE = "pieces = (data) => [data]"
BY_SEVEN = (
    "pieces = (data) => Array.from({ length: Math.max(1, Math.ceil(data.length / 7)) },"
    " (_, at) => data.subarray(at * 7, at * 7 + 7))"
)
# What public keys and files alone cannot say: these want the headers of removed files, a key, or an end.
UNSEEN = {"removed", "one more removed", "no headers", "no FINAL", "another key"}


@pytest.mark.parametrize("slices", [WHOLE, BY_SEVEN], ids=["whole", "by seven bytes"])
def test_the_page_finds_what_the_verifier_finds(slices: str) -> None:
    words = VECTORS.replace("PROOF", json.dumps((PAGE / "audit_proof.js").as_uri())).replace("SLICES", slices)
    script = words.replace("FILE", json.dumps(str(FOLDER / "audit.json")))
    done = subprocess.run(
        [need("node"), "--input-type=module", "-e", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found, vectors = json.loads(done.stdout), json.loads((FOLDER / "audit.json").read_text())
    for one in vectors["must_pass"]:
        said, wanted = found[one["name"]], one["expect"]
        assert said["fault"] is None, one
        for ours, theirs in (("parts", "files"), ("entries", "entries"), ("records", "records"),
                             ("heads", "checkpoints"), ("first", "first"), ("last", "last")):  # fmt: skip
            assert said[ours] == wanted[theirs], (one["name"], ours)
    for one in vectors["must_fail"]:
        said = found[one["name"]]
        if one["name"] in UNSEEN:
            assert said["fault"] is None
        else:
            name, sequence = one["expect"]["reason"].split()
            assert said["fault"][:2] == [int(name[6:14]), int(sequence)], one
    key = vectors["given"]["public"]
    assert [root["key"] for root in found["another key"]["roots"]] == [key]  # it says the one that has signed
    assert not found["no headers"]["isBound"] and not found["one more removed"]["isBound"]
    assert found["removed"]["first"] > 1 and not found["no FINAL"]["isClosed"] and found["closed"]["isClosed"]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, extra=CONSOLE, prelude=PRELUDE):
        added = host.cli("component", "add", LOGS, "--yes", "--allow", 'client/admin: "*"')
        assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture(scope="module")
def page(host: RunningHost) -> Iterator[ConsolePage]:
    with console_page(host, "anna", {LOGS: "[audit_log]"}) as page:
        page.open_screen("audit")
        says(page, "Whole: every entry")
        yield page


def says(page: ConsolePage, words: str) -> None:
    """Have the log read until the verdict has these words: an exchanged file is opened late, and a reading may fail."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        page.until("document.querySelector('main form button')")
        page.run(
            "new Promise(done => { const status = document.querySelector('main > div > [role=status]');"
            "const drawn = () => requestAnimationFrame(() => requestAnimationFrame(done));"
            "new MutationObserver(() => /were read|^$/.test(status.textContent) && drawn()).observe(status,"
            "{ childList: true }); document.querySelector('main form').requestSubmit() })"
        )
        if words in page.text():
            return
    raise AssertionError(f"never: {words}\n{page.text()}")


def file_of(host: RunningHost) -> Path:
    return sorted((host.config.state_dir / "authority" / "audit").glob("audit-*.log"))[-1]


@contextmanager
def exchanged(host: RunningHost, data: bytes) -> Iterator[None]:
    """Have other bytes where the newest file of the log was; the authority writes on to that one."""
    path = file_of(host)
    owner, kept = path.stat(), path.with_suffix(".kept")
    path.rename(kept)
    path.write_bytes(data)
    os.chown(path, owner.st_uid, owner.st_gid)
    try:
        yield
    finally:
        kept.rename(path)


def heads_of(data: bytes) -> list[LogEntry]:
    return [one for one in entries(data) if isinstance(one.value, Checkpoint)]


def made_of(log: AuditLog) -> str:
    return f"Uint8Array.from({json.dumps([*log.files[0]])})"


def test_what_is_proven_and_by_which_key(host: RunningHost, page: ConsolePage) -> None:
    says(page, "Whole: every entry up to the last signed head")
    key = host.cli("audit", "key").stdout.strip()
    assert key in page.text() and "signs this life of the host" in page.text()
    page.run(
        f"(one => {{ one.value = {json.dumps(key)}; one.dispatchEvent(new Event('input')) }})"
        "(document.querySelector('#audit-key'))"
    )
    page.shows("It is this key.")
    page.run(
        f"(one => {{ one.value = {json.dumps('0' + key[1:] if key[0] != '0' else '1' + key[1:])};"
        "one.dispatchEvent(new Event('input')) })(document.querySelector('#audit-key'))"
    )
    page.shows("It is another key: do not believe this log.")
    page.shows("a captured Primary may give a page that says anything")
    says(page, "is still in the log: nothing was cut off before it")  # of the time before
    verified = host.cli("audit", "verify")
    assert verified.returncode == 0, verified.stderr


def test_one_changed_byte_is_named(host: RunningHost, page: ConsolePage) -> None:
    data = file_of(host).read_bytes()
    victim = next(one for one in entries(data) if isinstance(one.value, LogRecord) and one.start > len(data) // 4)
    for at in (victim.start + 4 + 20, victim.start + 4 + len(victim.body)):  # in its body, and in its chain
        changed = bytearray(data)
        changed[at] ^= 1
        with exchanged(host, bytes(changed)):
            says(page, f"Broken in part 1, at sequence {victim.sequence}")
        says(page, "Whole: every entry")


@pytest.mark.parametrize("attack", ["missing", "reordered", "twice"])
def test_entries_that_are_moved_are_named(host: RunningHost, page: ConsolePage, attack: str) -> None:
    data = file_of(host).read_bytes()
    found = entries(data)
    at = len(found) // 2
    one, other = raw(data, found[at]), raw(data, found[at + 1])
    middle = {"missing": other, "reordered": other + one, "twice": one + one + other}[attack]
    with exchanged(host, data[: found[at].start] + middle + data[found[at + 1].end :]):
        says(page, f"at sequence {found[at].sequence + (attack == 'twice')}")
        assert "Broken in part 1" in page.text()


def test_a_tail_that_was_seen_before_cannot_be_cut_off(host: RunningHost, page: ConsolePage) -> None:
    limit = time.monotonic() + 30
    while len(heads_of(file_of(host).read_bytes())) < 2:  # the next is signed 5 s after what it is about
        assert time.monotonic() < limit
        select.select([], [], [], 0.1)
    says(page, "Whole: every entry")
    data = file_of(host).read_bytes()
    heads = heads_of(data)
    with exchanged(host, data[: heads[-2].end]):  # what stands is signed, and nothing in it is wrong
        says(page, "Cut off: this browser has seen a signed head at sequence")
        page.run("localStorage.clear()")  # as a browser that has never been here, which cannot know
        says(page, "Whole: every entry up to the last signed head")


def test_a_log_by_another_key_is_not_taken_for_the_one_of_before(host: RunningHost, page: ConsolePage) -> None:
    says(page, "Whole: every entry")
    made = AuditLog(host.config.install_id).life(root=OTHER).add(3).checkpoint()
    with exchanged(host, bytes(made.files[0])):
        says(page, "Another key: this browser has seen this host's log signed by")
    made = AuditLog().life(root=OTHER).add(3).checkpoint()
    with exchanged(host, bytes(made.files[0])):
        says(page, "it is of another host")
    says(page, "Whole: every entry")


def test_hostile_texts_are_refused_or_are_text(host: RunningHost, page: ConsolePage) -> None:
    words = "<img src=x onerror=alert(1)>"
    made = AuditLog(host.config.install_id).life(root=OTHER).add(1)
    made.files[-1] += made.sealer.record(LogRecord(1, 2, words, words, (("<b>", words),)))
    made.checkpoint()
    with exchanged(host, bytes(made.files[0])):
        says(page, words)
    assert page.run("[...document.querySelectorAll('main img, main b b')].length") == 0
    made.files[-1] += made.sealer.record(LogRecord(1, 2, "\u202egnp", "x", ()))
    with exchanged(host, bytes(made.files[0])):
        says(page, "this does not read: it was changed")
    page.run("localStorage.clear()")


def test_a_service_that_lies_is_bounded(page: ConsolePage) -> None:
    asked = """(async () => {
      const { checked } = await import('/screen_audit.js'), { signal } = new AbortController()
      let given = 0
      const client = { host: { install: '0'.repeat(32) }, async * stream() { for (;;) { given++; yield ITEM } } }
      return checked(client, 1, signal).then(({ report }) => report.fault?.word, (error) => `${error.message} ${given}`)
    })()"""
    zeros = "{ part: 1, whole: true, bytes: new Uint8Array(32768) }"
    assert page.run(asked.replace("ITEM", zeros)) == "unread"
    for item in ("null", "{ part: 'x', bytes: 1 }", "{ part: 1, whole: true, bytes: new Uint8Array() }"):
        assert str(page.run(asked.replace("ITEM", item))).endswith("is no part of an audit log 1"), item
    data = made_of(AuditLog(bytes(16)).life().add(200))
    endless = asked.replace("ITEM", f"{{ part: 1, whole: true, bytes: {data} }}")
    assert str(page.run(endless)) == "again"  # an entry can stand only where it stood


def test_who_may_not_is_told_what_to_do(host: RunningHost) -> None:
    with console_page(host, "bert", {LOGS: "[query]"}) as page:
        page.open_screen("audit")
        page.shows("tlsrt-supervisor component add secondary/logs --allow 'client/bert: [audit_log]'")
        assert page.run("document.querySelectorAll('.rows').length") == 0
