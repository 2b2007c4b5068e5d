"""Epochs on request and another master_key under calls of every kind: nothing is lost, nothing runs twice; and whatever
dies meanwhile, the host comes up with the old key or the new one."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.call_load import ASKER, CALLED, KINDS, LEDGER, Askers
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.client.connection import client_context
from tlsrt.config import key_rotation
from tlsrt.config.bundle import read_bundle
from tlsrt.config.issuer_chain import SealRecord
from tlsrt.supervisor.control.client import ControlClient

JSON = {"Content-Type": "application/json"}
UNAME = ("primary/kernel", "uname")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {**CALLED["policy"], f"client/web -> {LEDGER}": ["run"]}
    yield from running(request, clients=["web"], http=["web"], **{**CALLED, "policy": policy})


def copy(path: Path, target: Path) -> Path:
    shutil.copy(path, target)
    return target


def change_epoch(host: RunningHost) -> dict[str, Any]:
    with host._as_operator(), ControlClient(host.config.run_dir) as client:
        answer = client.ask("rotate", timeout_s=60)
    assert answer["late"] == [], answer
    return answer


def audit_key(host: RunningHost) -> Path:
    """Keep the audit log's public key of now in a file, as an operator does."""
    path = host.base / f"{len(list(host.base.glob('*.pub')))}.pub"
    path.write_text(host.cli("audit", "key").stdout)
    return path


def audit_verifies(host: RunningHost, before: Path) -> None:
    """The log is whole with the key of before a rotation and with that of after it."""
    for options in ([], ["--key", str(before)], ["--key", str(audit_key(host))]):
        verified = host.cli("audit", "verify", *options)
        assert verified.returncode == 0, (options, verified.stderr)


def change_master(host: RunningHost) -> dict[str, Any]:
    done = host.cli("rotate", "--master", "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["late"] == [], answer
    return answer


class Numbers:
    """A subscription of a client that lives as long as the test: it hears every number, in order."""

    def __init__(self, host: RunningHost) -> None:
        self._teller, listener = host.client(), host.client()
        self.heard: list[int] = []
        self._first = threading.Event()
        self._items: Any = listener.stream(LEDGER, "subscribe", "numbers")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        while not self._first.wait(0.01):
            self._teller.call(LEDGER, "tell", -1, timeout_s=20)
        self._told = 0

    def _read(self) -> None:
        for number in self._items:
            self._first.set()
            if number == -2:
                return
            if number >= 0:
                self.heard.append(number)

    def tell(self) -> None:
        self._teller.call(LEDGER, "tell", self._told, timeout_s=20)
        self._told += 1

    def end(self) -> None:
        self._teller.call(LEDGER, "tell", -2, timeout_s=20)
        self._reader.join(20)
        assert not self._reader.is_alive()
        assert self.heard == list(range(self._told))


class Browser:
    """A client that speaks HTTP, for which Primary holds the session: one connection, call after call."""

    def __init__(self, host: RunningHost, label: str) -> None:
        context = client_context(host.bundle("web"))
        context.set_alpn_protocols(["http/1.1"])
        self._connection = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=30)
        self._over = threading.Event()
        self.records: list[tuple[str, str, float]] = []
        self._asker = threading.Thread(target=self._ask, args=(label,))
        self._asker.start()

    def _ask(self, label: str) -> None:
        while not self._over.is_set():
            name = f"{label}-browse.plain.{len(self.records)}"
            self._connection.request("POST", f"/v1/call/{LEDGER}/run", json.dumps([name, 0.002]), JSON)
            answer = self._connection.getresponse()
            value = json.loads(answer.read())
            self.records.append((name, "ok" if (answer.status, value) == (200, name) else f"{value}", 0.0))

    def end(self) -> list[tuple[str, str, float]]:
        self._over.set()
        self._asker.join(60)
        assert not self._asker.is_alive()
        self._connection.close()
        return self.records


class Traffic:
    """Calls of a component and of clients, and a subscription, from begin to end of the block."""

    def __init__(self, host: RunningHost, label: str) -> None:
        self._control = host.client()
        [self._ledger] = host.config.state_dir.rglob("ran")
        self._before = len(self._ledger.read_text().split())
        self._control.call(ASKER, "begin", f"{label}-component", list(KINDS), 2)
        self._askers = Askers(host, f"{label}-client")
        self._browser = Browser(host, label)
        self.numbers = Numbers(host)

    def go_on(self, count: int) -> None:
        self._askers.go_on(count)
        self.numbers.tell()

    def assert_nothing_lost(self) -> None:
        self.numbers.end()
        records = [*self._askers.end(), *self._browser.end()]
        for part in self._control.stream(ASKER, "end_in_parts", timeout_s=60):
            records += [(name, word, spent) for name, word, spent in part]
        ends = Counter((name.split(".")[0].rpartition("-")[2][:6], word) for name, word, _ in records)
        assert {word for _, word in ends} == {"ok"}, ends
        assert {asker for asker, _ in ends} == {"client", "compon", "browse"}
        assert len({name.split(".")[1] for name, _, _ in records}) == len(KINDS)
        runs = Counter(self._ledger.read_text().split()[self._before :])
        assert runs == Counter(name for name, _, _ in records), "each ran once, and no other did"


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=[pytest.mark.stress, pytest.mark.timeout(600)])])
def test_epochs_on_request_lose_nothing_and_run_nothing_twice(host: RunningHost, count: int) -> None:
    traffic = Traffic(host, f"epochs{count}")
    before = host.status()["authority"]["epoch"]
    for number in range(count):
        traffic.go_on(20)
        assert change_epoch(host)["epoch"] == before + number + 1
    traffic.go_on(50)
    traffic.assert_nothing_lost()
    assert {loop["restarts"] for loop in host.status()["loops"]} == {0}


def test_the_command_says_when_every_loop_has_it(host: RunningHost) -> None:
    done = host.cli("rotate")
    assert done.returncode == 0, done.stderr
    epoch = host.status()["authority"]["epoch"]
    assert done.stdout.startswith(f"epoch {epoch}: in every loop after ")
    assert {loop["epoch"] for loop in host.status()["loops"]} == {epoch}
    host.wait_for(rf"^rotate +done +epoch {epoch} in every loop")


def test_requests_that_come_together_are_carried_out_one_after_the_other(host: RunningHost) -> None:
    epoch = host.status()["authority"]["epoch"]
    found: list[int] = []
    askers = [threading.Thread(target=lambda: found.append(change_epoch(host)["epoch"])) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert sorted(found) == [epoch + 1, epoch + 2, epoch + 3, epoch + 4]


def test_another_master_key_under_calls_and_then_the_authority_dies(host: RunningHost) -> None:
    """Live clients, a component and a subscription notice nothing; who comes later with the old bundle follows."""
    traffic = Traffic(host, "master")
    with Client(host.folder / "admin.tlsrt") as live:
        old = copy(host.folder / "admin.tlsrt", host.base / "old.tlsrt")
        traffic.go_on(50)
        assert host.status()["keys"] == {"key_version": 1, "previous_verifies_s": 0.0}
        before = audit_key(host)
        answer = change_master(host)
        audit_verifies(host, before)
        traffic.go_on(100)
        assert (answer["key_version"], 5.0 < answer["previous_verifies_s"] <= 300.0) == (2, True)
        assert live.call(*UNAME)["system"] == "Linux"
        keys = host.status()["keys"]
        assert keys["key_version"] == 2
        assert 0.0 < keys["previous_verifies_s"] <= answer["previous_verifies_s"]
        traffic.assert_nothing_lost()
    renewed = read_bundle(host.folder / "admin.tlsrt")
    assert renewed.issuer_version == 2, "the bundle of a client that was there is renewed"
    assert renewed.issuer_public != read_bundle(old).issuer_public
    assert (host.folder / "admin.tlsrt").stat().st_mode & 0o7777 == 0o600
    assert sorted(path.name for path in host.folder.glob("master*")) == ["master.key.2"]
    assert "tokens of version 1 verify for" in host.cli("status").stdout
    host.told('"rotated"')
    assert host.cli("reload").returncode == 0, "the new key checks what was sealed with it"
    refused = host.cli("rotate", "--master")
    assert refused.returncode == 78
    assert "master_key version 1 still verifies for" in refused.stderr
    assert sorted(path.name for path in host.folder.glob("*.next*")) == []

    with Client(old) as offline:
        assert offline.call(*UNAME)["system"] == "Linux"
    assert read_bundle(old) == renewed

    lines = len(host.console)
    host.kill("authority")
    host.wait_for("^authority +(active|booted|resumed)|^authority +died", after=lines)
    host.until(lambda document: document["authority"]["state"] == "active", "an authority that serves again")
    with Client(old) as client:
        assert client.call(*UNAME)["system"] == "Linux"
    assert host.status()["keys"]["key_version"] == 2


def one_version(host: RunningHost) -> None:
    """End the time in which an older version verifies too."""
    if host.status()["keys"]["previous_verifies_s"]:
        change_epoch(host)
        host.until(lambda document: not document["keys"]["previous_verifies_s"], "one version", timeout_s=20)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_twelve_master_keys_one_after_the_other_lose_nothing(host: RunningHost) -> None:
    traffic = Traffic(host, "masters")
    for _ in range(12):
        traffic.go_on(50)
        one_version(host)
        traffic.go_on(50)
        change_master(host)
    traffic.go_on(100)
    traffic.assert_nothing_lost()
    assert {loop["restarts"] for loop in host.status()["loops"]} == {0}


def test_after_a_restart_the_new_key_is_in_force_and_the_old_one_is_a_roll_back(host: RunningHost) -> None:
    kept = {name: (host.folder / name).read_bytes() for name in ("boot.token",)}
    one_version(host)
    version = change_master(host)["key_version"]
    host.restart()
    assert host.status()["keys"] == {"key_version": version, "previous_verifies_s": 0.0}
    with Client(host.folder / "admin.tlsrt") as client:
        assert client.call(*UNAME)["system"] == "Linux"
    host.stop()
    now = (host.folder / "boot.token").read_bytes()
    (host.folder / "boot.token").write_bytes(kept["boot.token"])
    (host.folder / f"master.key.{version - 1}").write_bytes(os.urandom(32))
    (host.folder / f"master.key.{version - 1}").chmod(0o600)
    with pytest.raises(AssertionError, match="the host ended before"):
        host.start()
    assert f"and this host has already run version {version}" in (host.base / "errors").read_text()
    assert host.stop() == 78
    (host.folder / "boot.token").write_bytes(now)
    host.start()


def test_a_stopped_host_is_rotated_too_and_cannot_start_meanwhile(host: RunningHost) -> None:
    old = copy(host.folder / "admin.tlsrt", host.base / "before.tlsrt")
    host.stop()
    version, before = key_rotation.version_in_force(host.config), audit_key(host)
    for number in (1, 2):
        done = host.cli("rotate", "--master")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"master_key version {version + number} is in force from the next start on\n")
        audit_verifies(host, before)
    assert host.cli("rotate").returncode == 3, "an epoch needs a host that runs"
    host.start()
    with Client(old) as client:  # it has missed both
        assert client.call(*UNAME)["system"] == "Linux"
    assert read_bundle(old).issuer_version == version + 2
    assert host.cli("seal").returncode == 0
    host.restart()
    assert host.status()["keys"]["key_version"] == version + 2


def test_a_bundle_that_cannot_be_written_works_and_says_so_once(
    host: RunningHost, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = copy(host.folder / "admin.tlsrt", host.base / "frozen.tlsrt")
    os.chmod(frozen, 0o400)
    before = frozen.read_bytes()
    with Client(frozen) as client:
        change_master(host)
        assert client.call(*UNAME)["system"] == "Linux"
        host.respawn("primary")
        assert client.call(*UNAME, timeout_s=20, idempotent=True)["system"] == "Linux"
    assert frozen.read_bytes() == before
    said = [record.getMessage() for record in caplog.records if record.name == "tlsrt.client"]
    assert len(said) == 1
    assert "cannot be renewed" in said[0]


def test_a_command_that_is_killed_leaves_a_rotation_that_goes_on_or_one_that_never_began(host: RunningHost) -> None:
    one_version(host)
    version = host.status()["keys"]["key_version"]
    key_rotation.stage(host.config, SealRecord())  # killed before it has asked
    assert change_epoch(host)["key_version"] == version
    staged = key_rotation.stage(host.config, SealRecord())
    with host._as_operator(), ControlClient(host.config.run_dir) as client:
        client._socket.sendall(b'{"verb": "rotate", "master": true}\n')  # killed when it has asked
    host.until(lambda document: document["keys"]["key_version"] == staged.version, "the new key")
    assert key_rotation.version_in_force(host.config) == version + 1
    assert (host.folder / f"master.key.{version}").exists(), "nobody was there to remove it"
    host.restart()
    assert host.status()["keys"]["key_version"] == version + 1


def test_a_request_without_files_is_refused(host: RunningHost) -> None:
    with host._as_operator(), ControlClient(host.config.run_dir) as client:
        answer = client.ask("rotate", master=True)
    assert "boot.token.next" in answer["refused"][0]
    foreign = key_rotation.next_token(host.config)
    foreign.write_bytes(host.config.boot_token.read_bytes())
    with host._as_operator(), ControlClient(host.config.run_dir) as client:
        [sentence] = client.ask("rotate", master=True)["refused"]
    assert "which does not follow version" in sentence
    foreign.unlink()
