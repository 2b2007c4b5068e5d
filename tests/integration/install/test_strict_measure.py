"""What init seals, nobody changes: each attack on an installed host stops the start with a sentence that names it.

The host is a wheel in an environment of its own; each test gets a fresh configuration folder, and puts back the code
that it changed. `seal` after a change that was intended is the way on, and the only one.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hosts.installation import Environment, changeable, listed, make_environment, run, scratch
from hosts.installed_host import InstalledHost
from hosts.row_sampling import rows

from tlsrt.config import pki

NUMBER = iter(range(1000))


@pytest.fixture(scope="module")
def environment() -> Environment:
    return changeable()


@pytest.fixture
def host(environment: Environment) -> Iterator[InstalledHost]:
    """A host that would start."""
    host = InstalledHost(environment, scratch() / f"strict-{next(NUMBER)}")
    host.like_new()
    yield host
    shutil.rmtree(host.folder)


@contextmanager
def kept(*paths: Path) -> Iterator[None]:
    """Put the files back as they were, with their times."""
    before = {path: (path.read_bytes(), path.stat()) for path in paths if path.exists()}
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
            if path in before:
                data, status = before[path]
                path.write_bytes(data)
                path.chmod(status.st_mode & 0o7777)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def redigit(path: Path, offset: int) -> None:
    """Change one hexadecimal digit into another one."""
    data = bytearray(path.read_bytes())
    assert chr(data[offset]) in "0123456789abcdef"
    data[offset] = ord("0") if data[offset] != ord("0") else ord("1")
    path.write_bytes(data)


def server(host: InstalledHost, name: str, *, ca: pki.Issued | None = None) -> None:
    """Give the host another server certificate, of its own CA or of a strange one."""
    config = host.config.read_text()
    install = bytes.fromhex(config.split('install: "')[1][:32])
    own = pki.Issued((host.folder / "ca.crt").read_bytes(), (host.folder / "ca.key").read_bytes())
    issued = pki.issue_server(ca or own, install, name, datetime.now(UTC))
    (host.folder / "server.crt").write_bytes(issued.certificate_pem)
    (host.folder / "server.key").write_bytes(issued.key_pem)


def test_init_writes_strict_and_what_it_wrote_starts(host: InstalledHost) -> None:
    assert "\nmeasure: strict\n" in host.config.read_text()
    with host.started():
        assert host.call("primary/kernel", "uname")["system"] == "Linux"
        assert host.status()["warnings"] == []
    with host.started():
        pass


def _evil_pyc(source: Path) -> None:
    """Bytecode with more in it, which Python takes for that of the unchanged source: same time and size (PEP 552)."""
    cached = Path(importlib.util.cache_from_source(str(source)))
    evil = scratch() / "evil.py"
    evil.write_text(source.read_text() + "\nANSWER = 'evil'\n")
    py_compile.compile(str(evil), cfile=str(scratch() / "evil.pyc"), doraise=True)
    compiled = (scratch() / "evil.pyc").read_bytes()
    status = source.stat()
    time_and_size = int(status.st_mtime).to_bytes(4, "little") + status.st_size.to_bytes(4, "little")
    cached.write_bytes(compiled[:8] + time_and_size + compiled[16:])


def test_the_evil_bytecode_of_these_tests_is_what_python_would_run(environment: Environment) -> None:
    """Without this, the attacks below could fail for another reason."""
    source = environment.site / "tlsrt" / "errors.py"
    with kept(Path(importlib.util.cache_from_source(str(source)))):
        _evil_pyc(source)
        answer = run(environment.program("python"), "-I", "-B", "-c", "import tlsrt.errors; print(tlsrt.errors.ANSWER)")
    assert answer == "evil\n"


CODE: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "a module of tlsrt": ("tlsrt/loops/gate/gate.py", "changed tlsrt/loops/gate/gate.py", changed),
    "a module of a component": ("tlsrt/loops/secondary/store.py", "changed tlsrt/loops/secondary/store.py", changed),
    "a dependency in Python": ("zmq/_future.py", "changed dep/zmq/_future.py", changed),
    "a compiled dependency": ("cryptography/hazmat/bindings/_rust.abi3.so", "changed dep/cryptography/", changed),
    "a new module": ("tlsrt/loops/new.py", "new tlsrt/loops/new.py", Path.touch),
    "a new module in a dependency": ("yaml/new.py", "new dep/yaml/new.py", Path.touch),
    "a new library that shadows a module": (
        "tlsrt/channels/command.abi3.so", "new tlsrt/channels/command.abi3.so", Path.touch,
    ),
    "a removed module": ("tlsrt/channels/cli/main.py", "missing tlsrt/channels/cli/main.py", Path.unlink),
}  # fmt: skip


@pytest.mark.parametrize(
    "attack",
    rows(CODE, stress={
        "a module of a component", "a dependency in Python", "a new module", "a new library that shadows a module"
    }),
)  # fmt: skip
def test_changed_code_is_refused_by_name(host: InstalledHost, attack: str) -> None:
    name, word, change = CODE[attack]
    path = host.environment.site / name
    cached = Path(importlib.util.cache_from_source(str(path)))
    with kept(path, cached) if path.suffix == ".py" else kept(path):
        change(path)
        sentence = host.refused()
    assert f"this host is not what was sealed: {word}" in sentence
    assert "tlsrt-supervisor seal" in sentence
    assert sentence.count("changed ") + sentence.count("new ") + sentence.count("missing ") == 1, sentence


def _other_ca(host: InstalledHost) -> None:
    (host.folder / "ca.crt").write_bytes(pki.make_ca(secrets.token_bytes(16), datetime.now(UTC)).certificate_pem)


def _foreign_issuer(host: InstalledHost) -> None:
    server(host, "127.0.0.1", ca=pki.make_ca(secrets.token_bytes(16), datetime.now(UTC)))


OWN: dict[str, tuple[str, Callable[[InstalledHost], object]]] = {
    "the configuration": ("not what was sealed: changed config;", lambda host: changed(host.config)),
    "another name in the certificate": (
        "not what was sealed: changed certificate-names;", lambda host: server(host, "evil.example"),
    ),
    "another issuer of the certificate": ("not what was sealed: changed certificate-names;", _foreign_issuer),
    "another client CA": ("not what was sealed: changed client-ca;", _other_ca),
    "another master_key": (
        "not made with this master_key", lambda host: (host.folder / "master.key").write_bytes(secrets.token_bytes(32)),
    ),
    "the MAC of the boot token": (
        "not made with this master_key", lambda host: redigit(
            host.folder / "boot.token", (host.folder / "boot.token").read_bytes().index(b"mac ") + 4),
    ),
    "a digest in the boot token": (
        "not made with this master_key", lambda host: redigit(
            host.folder / "boot.token", (host.folder / "boot.token").read_bytes().index(b" config\n") - 1),
    ),
    "the last byte of the boot token": (
        "the boot token is damaged", lambda host: os.truncate(
            host.folder / "boot.token", (host.folder / "boot.token").stat().st_size - 1),
    ),
    "half a boot token": ("the boot token is damaged", lambda host: os.truncate(host.folder / "boot.token", 1000)),
    "no boot token": ("boot.token", lambda host: (host.folder / "boot.token").unlink()),
}  # fmt: skip


@pytest.mark.parametrize(
    "attack",
    rows(OWN, stress={
        "another name in the certificate", "another master_key", "the MAC of the boot token", "half a boot token"
    }),
)  # fmt: skip
def test_what_else_was_sealed_is_refused_when_changed(host: InstalledHost, attack: str) -> None:
    words, change = OWN[attack]
    change(host)
    sentence = host.refused()
    assert words in sentence
    assert "tlsrt-supervisor seal" in sentence or attack == "no boot token"


def test_seal_accepts_what_was_intended(host: InstalledHost) -> None:
    """One seal takes all of it: code, configuration, certificate, and a token that is damaged."""
    path = host.environment.site / "tlsrt" / "loops" / "third" / "io.py"
    with kept(path, Path(importlib.util.cache_from_source(str(path)))):
        changed(path)
        changed(host.config)
        server(host, "192.0.2.1")
        (host.folder / "boot.token").write_bytes(b"")
        assert "boot token is damaged" in host.refused()
        host.seal()
        with host.started():
            assert host.call("third/io", "notices") == []
        changed(path)
        assert "changed tlsrt/loops/third/io.py" in host.refused(), "and not a byte more"


def test_every_seal_number_but_its_own_is_refused(host: InstalledHost) -> None:
    token = host.folder / "boot.token"
    token.write_bytes(token.read_bytes().replace(b"seal 1\n", b"seal 2\n"))
    assert "not made with this master_key, or was edited" in host.refused()


def test_an_older_seal_is_a_roll_back(host: InstalledHost) -> None:
    """Code and configuration are those of the old token: only the number that has run tells."""
    token = host.folder / "boot.token"
    first = token.read_bytes()
    host.seal()
    second = token.read_bytes()
    token.write_bytes(first)
    with host.started():  # the second was never run, so nothing is rolled back
        pass
    token.write_bytes(second)
    with host.started():
        pass
    token.write_bytes(first)
    assert "the boot token is a roll-back: its seal is 1, and this host has already run seal 2" in host.refused()
    token.unlink()
    assert "has number 3" in host.seal(), "a lost token does not start the numbers anew"
    with host.started():
        pass


def test_a_renewed_certificate_needs_no_seal(host: InstalledHost) -> None:
    before = (host.folder / "server.crt").read_bytes()
    server(host, "127.0.0.1")
    assert (host.folder / "server.crt").read_bytes() != before
    with host.started():
        assert host.call("primary/kernel", "uname")["system"] == "Linux"


def test_a_changed_host_says_at_most_ten_names(host: InstalledHost) -> None:
    paths = [host.environment.site / "tlsrt" / f"new{number:02}.py" for number in range(25)]
    with kept(*paths):
        for path in paths:
            path.touch()
        sentence = host.refused()
    assert "new tlsrt/new09.py and 15 more;" in sentence


@pytest.mark.parametrize(
    "compiled",
    [pytest.param(True, id="pip"), pytest.param(False, id="without bytecode", marks=pytest.mark.stress)],
)
def test_what_runs_after_init_writes_no_bytecode_that_matters(compiled: bool) -> None:
    """The runtime writes none; where an installer left none, the commands do, and no start looks at it."""
    environment = changeable() if compiled else make_environment(scratch() / "env-without-bytecode", compiled=False)
    host = InstalledHost(environment, scratch() / f"bytecode-{compiled}")
    assert any(environment.site.rglob("*.pyc")) == compiled
    host.init()
    before = listed([environment.site])
    with host.started() as process:
        host.status()
        host.do("describe", program="tlsrt")
        host.call("secondary/store", "put", "greeting", "hello")
        host.do("stop", "--config", host.config)
        process.wait(10)
    host.do("schema")
    host.do("version")
    run(environment.program("python"), "-I", "-c", "import tlsrt; tlsrt.Client, tlsrt.AsyncClient, tlsrt.Component")
    assert listed([environment.site]) == before or not compiled
    cached = listed([host.folder / "tlsrt.bytecode"])
    with host.started():
        assert host.call("secondary/store", "get", "greeting") == "hello"
    assert host.seal().startswith("sealed")
    assert listed([host.folder / "tlsrt.bytecode"]) == cached != {}, "a second seal has nothing to compile"
