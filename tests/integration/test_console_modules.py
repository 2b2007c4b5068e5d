"""The modules of the console's page by node: vectors, a hostile server, msgpack and signing requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.programs import need

from tlsrt.config import pki

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "loops" / "third" / "console" / "page"
SCRIPTS = ROOT / "tests" / "console"
VECTORS = ROOT / "tests" / "vectors"
SCRIPT_OF_A_LINE = """
import readline from 'node:readline'
for await (const line of readline.createInterface({ input: process.stdin })) {
  let answer
  try {
    answer = await one(line)
  } catch (error) {
    answer = error.code ?? error.name
  }
  console.log(answer)
}
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the page that node takes for modules, as a browser does."""
    folder = tmp_path_factory.mktemp("console") / "page"
    shutil.copytree(PAGE, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def run(page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    certificate = json.loads((VECTORS / "opening.json").read_text())["given"]["certificate"]
    environment = {**os.environ, "TLSRT_PAGE": str(page), "TLSRT_CERTIFICATE": certificate}
    command = [need("node"), "--no-warnings", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def test_it_takes_and_refuses_what_the_vectors_say(page: Path) -> None:
    done = run(page, str(SCRIPTS / "vectors.mjs"), str(page), str(VECTORS))
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert len(counts) == 12 and sum(passed for passed, _ in counts.values()) >= 48
    assert sum(refused for _, refused in counts.values()) >= 191


def test_a_hostile_server_gets_nothing_taken(page: Path) -> None:
    done = run(page, "--test", "--test-reporter=tap", str(SCRIPTS / "hostile_server.test.mjs"))
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None and int(passed[1]) >= 87


def test_an_action_is_done_once_for_one_yes(page: Path) -> None:
    done = run(page, "--test", "--test-reporter=tap", str(SCRIPTS / "action.test.mjs"))
    assert done.returncode == 0, done.stdout
    assert re.search(r"^# pass 15$", done.stdout, re.MULTILINE), done.stdout


def test_a_page_of_a_component_gets_what_it_may_and_no_more(page: Path) -> None:
    done = run(page, "--test", "--test-reporter=tap", str(SCRIPTS / "component_page.test.mjs"))
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None and int(passed[1]) >= 28


def test_its_modules_are_small_and_import_nothing_from_elsewhere() -> None:
    modules = sorted(path for path in PAGE.iterdir() if path.suffix == ".js")
    names = {path.name for path in modules}
    imported = {name for path in modules for name in re.findall(r"""from ['"]([^'"]*)['"]""", path.read_text())}
    assert imported <= {f"./{name}" for name in names}
    assert all(len(path.read_text().splitlines()) <= 400 for path in modules)


class Script:
    """A function of the page's modules, one line in, one line out."""

    def __init__(self, page: Path, imports: str, one: str) -> None:
        source = f"import {imports.replace('PAGE', page.as_uri())}\nconst one = {one}\n{SCRIPT_OF_A_LINE}"
        self._process = subprocess.Popen(
            [need("node"), "--no-warnings", "--input-type=module", "-e", source],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, line: str) -> str:
        """Return its answer to a line, or the word of its error."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture(scope="module")
def packer(page: Path) -> Iterator[Script]:
    again = "(line) => Buffer.from(pack(unpack(Uint8Array.from(Buffer.from(line, 'hex'))))).toString('hex')"
    made = Script(page, "{ pack, unpack } from 'PAGE/msgpack.js'", again)
    yield made
    made.close()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
    | st.floats(allow_nan=False).filter(lambda number: not number.is_integer()),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=20),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_its_msgpack_reads_and_writes_the_same_values(packer: Script, value: object) -> None:
    answer = packer.ask(msgpack.packb(value).hex())
    assert msgpack.unpackb(bytes.fromhex(answer)) == value
    assert len(answer) == 2 * len(msgpack.packb(value))


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_what_is_cut_off_or_followed_by_more_is_refused(packer: Script, value: object) -> None:
    data = msgpack.packb(value)
    assert packer.ask(data[:-1].hex()) == packer.ask((data + b"\xc0").hex()) == "rejected"


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_one_word(packer: Script, data: bytes) -> None:
    answer = packer.ask(data.hex())
    if answer != "rejected":
        assert packer.ask(answer) == answer  # what was read is written as one value, which is read again


@pytest.mark.parametrize("data", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000, b"\xc1"])
def test_what_claims_too_much_is_refused(packer: Script, data: bytes) -> None:
    assert packer.ask(data.hex()) == "rejected"


def test_its_signing_requests_are_those_of_pkcs_10(page: Path) -> None:
    """The authority's own parser takes them, and their signatures; often, as a signature's length varies."""
    make = "async () => Buffer.from(await makeRequest(await makeClientKeys())).toString('hex')"
    imports = "{ makeRequest } from 'PAGE/certificate_request.js'\nimport { makeClientKeys } from 'PAGE/primitives.js'"
    script = Script(page, imports, make)
    requests = [bytes.fromhex(script.ask("")) for _ in range(100)]
    script.close()
    assert len({len(request) for request in requests}) > 1 and len(set(requests)) == 100
    for request in requests:
        pki.key_of_request_untrusted(request)


def test_it_reads_a_certificate_as_we_do(page: Path) -> None:
    read = (
        "(line) => { const { uris, begins, ends } = readCertificate(Uint8Array.from(Buffer.from(line, 'hex'))); "
        "return JSON.stringify([uris, begins, ends]) }"
    )
    script = Script(page, "{ readCertificate } from 'PAGE/certificate_request.js'", read)
    data = bytes.fromhex(json.loads((VECTORS / "opening.json").read_text())["given"]["certificate"])
    uris, begins, ends = json.loads(script.ask(data.hex()))
    assert uris == [f"spiffe://tlsrt.{bytes(range(0x10, 0x20)).hex()}/client/admin"]
    assert (begins, ends) == (1735689600000, 2051222400000)
    for length in range(0, len(data), 7):
        assert script.ask(data[:length].hex()) == "rejected"
    script.close()


@pytest.fixture(scope="module")
def drawn(page: Path) -> Iterator[Script]:
    one = """(line) => {
      const { found, period, lasts } = JSON.parse(line)
      const buckets = bucketsOf(found, 'frames'), runs = runsOf(buckets, period)
      const highest = Math.max(0, ...buckets.map((each) => each.most))
      const shapes = runs.map((run) => shapeOf(run, lasts, period, highest))
      return JSON.stringify({ shapes, rows: rowsOf(buckets, lasts, period, 4) })
    }"""
    made = Script(page, "{ bucketsOf, runsOf, shapeOf, rowsOf } from 'PAGE/history.js'", one)
    yield made
    made.close()


def draw(script: Script, ages: object, least: object, most: object, mean: object) -> str:
    found = {"ages_s": ages, "series": {"frames": {"least": least, "most": most, "mean": mean}}}
    return script.ask(json.dumps({"found": found, "period": 10, "lasts": 100}))


def test_a_gap_is_drawn_as_a_gap_and_its_rows_are_left_out(drawn: Script) -> None:
    said = json.loads(draw(drawn, [100, 90, 20, 10], [0, 1, 2, 3], [4, 5, 6, 10], [2, 3, 4, 5]))
    assert [shape["line"] for shape in said["shapes"]] == [
        "0.00,23.40 10.00,20.60", "80.00,17.80 90.00,15.00",
    ]  # fmt: skip
    assert said["shapes"][1]["band"] == "80.00,12.20 90.00,1.00 90.00,20.60 80.00,23.40"
    assert [(row["from"], row["to"], row["least"], row["most"], row["mean"], row["part"]) for row in said["rows"]] == [
        (25, 0, 2, 10, 4.5, 0.8), (100, 75, 0, 5, 2.5, 0.8),
    ]  # fmt: skip


def test_what_is_no_history_is_refused_by_the_page(drawn: Script) -> None:
    wrong: list[object] = ["x", None, {"length": 1}, ["x"], [[1, 2]], [1, 2], [1] * 2000, ["NaN"]]
    for one in wrong:
        assert draw(drawn, one, [1], [1], [1]) == "Error"
        assert draw(drawn, [1], [1], one, [1]) == "Error"
    assert json.loads(draw(drawn, [], [], [], [])) == {"shapes": [], "rows": []}
