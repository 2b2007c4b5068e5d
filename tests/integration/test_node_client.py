"""The client in another language, written from PROTOCOL.md alone: it proves that document against a running host."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from attackers.arena import PACKAGE, VICTIM
from hosts.running_host import RunningHost, running
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.programs import need

from tlsrt.config.bundle import read_bundle

pytestmark = pytest.mark.once

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "node" / "tlsrt.mjs"
LINES_MAX = 300
PACKER = f"""
import {{ pack, unpack }} from 'file://{EXAMPLE}'
import readline from 'node:readline'
for await (const line of readline.createInterface({{ input: process.stdin }})) {{
  let answer
  try {{
    answer = pack(unpack(Buffer.from(line, 'hex'))).toString('hex')
  }} catch (error) {{
    answer = error.code ?? error.name
  }}
  console.log(answer)
}}
"""


def node() -> str:
    return need("node")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], components={VICTIM: {"class": "captured.counter:Counter", "process": "shared"}},
        policy={f"client/admin -> {VICTIM}": "*", "client/guest -> secondary/store": ["get"]}, clients=["guest"],
    )  # fmt: skip


def call(host: RunningHost, *words: str, client: str = "admin") -> subprocess.CompletedProcess[str]:
    command = [node(), str(EXAMPLE), "--bundle", str(host.folder / f"{client}.tlsrt"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def value(host: RunningHost, *words: str) -> Any:
    done = call(host, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_small_and_needs_nothing() -> None:
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    imported = {line.split("'")[1] for line in text.splitlines() if line.startswith("import ")}
    assert imported and all(name.startswith("node:") for name in imported)


def test_calls(host: RunningHost) -> None:
    assert value(host, "primary/kernel", "uname")["system"] == "Linux"
    kept = {"text": "hällo", "numbers": [0, -1, 255, 65536, 2**40, -(2**31), 1.5], "nothing": None, "yes": True}
    assert value(host, "secondary/store", "put", "greeting", json.dumps(kept))["revision"] >= 1
    assert value(host, "secondary/store", "get", "greeting") == kept
    assert value(host, VICTIM, "add", "2") == value(host, VICTIM, "value")


def test_large_values(host: RunningHost) -> None:
    text = "x" * 100_000
    value(host, "secondary/store", "put", "large", json.dumps(text))
    assert value(host, "secondary/store", "get", "large") == text


@pytest.mark.parametrize(
    ("client", "words", "says"),
    [
        ("admin", ("secondary/store", "get", "no such key"), "not_found: "),
        ("admin", ("secondary/store", "get"), "invalid_argument: "),
        ("guest", ("secondary/store", "put", "a", "1"), "denied: "),
        ("guest", ("primary/kernel", "uname"), "denied: "),
    ],
)
def test_errors_have_their_codes(host: RunningHost, client: str, words: tuple[str, ...], says: str) -> None:
    done = call(host, *words, client=client)
    assert done.returncode == 1 and done.stderr.startswith(f"tlsrt.mjs: {says}") and done.stdout == ""


def test_it_follows_a_new_issuer_key_and_remembers_it(host: RunningHost) -> None:
    assert host.cli("rotate", "--master").returncode == 0
    before = read_bundle(host.folder / "admin.tlsrt")
    assert value(host, "primary/kernel", "uname")["system"] == "Linux"
    after = read_bundle(host.folder / "admin.tlsrt")
    assert after.issuer_public != before.issuer_public and (host.folder / "admin.tlsrt").stat().st_mode & 0o777 == 0o600
    with host.client() as client:
        assert client.call("primary/kernel", "uname")["system"] == "Linux"


def test_it_trusts_no_other_issuer(host: RunningHost) -> None:
    path = host.folder / "liar.tlsrt"
    document = json.loads((host.folder / "guest.tlsrt").read_text())
    document["issuer"] = "11" * 32
    document["issuer_version"] = 9
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    done = call(host, "secondary/store", "get", "greeting", client="liar")
    assert done.returncode == 1 and "the issuer did not sign" in done.stderr


def test_others_may_not_read_its_bundle(host: RunningHost) -> None:
    path = host.folder / "open.tlsrt"
    shutil.copy(host.folder / "guest.tlsrt", path)
    path.chmod(0o644)
    assert "chmod 600" in call(host, "secondary/store", "get", "x", client="open").stderr


class Packer:
    """The example's msgpack, one value a line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [node(), "--input-type=module", "-e", PACKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def again(self, data: bytes) -> str:
        """Return its encoding of what it has read, in hex, or the word why it has not."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(data.hex() + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture(scope="module")
def packer() -> Iterator[Packer]:
    made = Packer()
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
def test_its_msgpack_reads_and_writes_the_same_bytes(packer: Packer, value: object) -> None:
    data = msgpack.packb(value)
    assert packer.again(data) == data.hex()


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_what_is_cut_off_or_followed_by_more_is_refused(packer: Packer, value: object) -> None:
    data = msgpack.packb(value)
    assert packer.again(data[:-1]) == packer.again(data + b"\xc0") == "rejected"


@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa0"])
def test_it_reads_as_deep_as_we_do(packer: Packer, level: bytes) -> None:
    deepest = level * 31 + b"\x90"
    assert packer.again(deepest) == deepest.hex()
    assert packer.again(level + deepest) == "rejected"
    assert packer.again(b"\xdd" + (8192).to_bytes(4, "big") + b"\x90" * 8192) == "rejected"
    assert packer.again(b"\x81\x01\x02") == packer.again(b"\x81\x91\x01\x02") == "rejected"


@pytest.mark.parametrize(
    "data", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000, b"\xc1", b"\xd4\1\2"]
)
def test_what_claims_too_much_is_refused(packer: Packer, data: bytes) -> None:
    assert packer.again(data) == "rejected"
