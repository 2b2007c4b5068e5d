"""`secret`: what an operator sets for one component is in its process, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.failed_process import running_with_failed, words_of_failed
from hosts.running_host import RunningHost
from probes.process_memory import found_in

PACKAGE = Path(__file__).parents[1] / "hosts" / "secretive_package" / "secretive"
NEEDS: dict[str, Any] = {"secrets": [{"name": "broker", "why": "it logs in there"}]}
MORE = {"secrets": [*NEEDS["secrets"], {"name": "proxy", "why": "it goes by one, perhaps", "optional": True}]}
LOGIN, THIEF, SLOW = "external/login", "external/thief", "external/slow"
VALUE = b"correct-horse-battery-staple"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    options: dict[str, Any] = {
        "components": {
            LOGIN: {"class": "secretive:Login", "needs": MORE}, THIEF: {"class": "secretive:Thief", "needs": NEEDS},
            SLOW: {"class": "secretive:Slow", "needs": NEEDS},
        },
        "policy": {f"client/admin -> {address}": "*" for address in (LOGIN, THIEF, SLOW)},
        "packages": [PACKAGE],
    }  # fmt: skip
    yield from running_with_failed(request, "external.[a-z]+", **options)


def set_secret(host: RunningHost, address: str, value: bytes, *, code: int = 0) -> str:
    done = subprocess.run(
        host.command("secret", "set", address, "broker"), input=value, capture_output=True, timeout=60, cwd=host.base
    )
    assert done.returncode == code, done.stderr
    assert VALUE not in done.stdout + done.stderr
    host._note_processes()
    return (done.stdout + done.stderr).decode()


def test_a_secret_is_in_its_process_and_nowhere_else(host: RunningHost) -> None:
    assert words_of_failed(host, "external.login") == (
        "component external/login: there is no secret broker: set it with `tlsrt-supervisor secret set external/login "
        "broker`; `tlsrt-supervisor secret make external/login broker` draws one that is not shown"
    )
    assert "the secret is empty" in set_secret(host, LOGIN, b"\n", code=64)
    assert "external.login was started anew with it" in set_secret(host, LOGIN, VALUE + b"\n")
    assert host.client().call(LOGIN, "token") == VALUE.hex()
    assert host.client().call(LOGIN, "has_proxy") is False, "an optional one keeps nothing from its start"

    listed = json.loads(host.cli("secret", "list", "--json").stdout)["secrets"]
    assert [(one["component"], one["name"], one["is_set"]) for one in listed] == [
        (LOGIN, "broker", True), (LOGIN, "proxy", False), (SLOW, "broker", False), (THIEF, "broker", False),
    ]  # fmt: skip
    for path in (path for path in host.base.rglob("*") if path.is_file() and not path.is_symlink()):
        assert VALUE not in path.read_bytes(), path
    status = host.status()
    pids = {loop["name"]: loop["pid"] for loop in status["loops"] if loop["pid"]}
    pids |= {"authority": status["authority"]["pid"], "supervisor": status["supervisor"]["pid"]}
    assert [name for name, pid in pids.items() if found_in(pid, {"value": VALUE})] == ["external.login"]


def test_another_component_neither_reads_nor_opens_it(host: RunningHost) -> None:
    set_secret(host, LOGIN, VALUE)
    set_secret(host, THIEF, b"its own")
    folder = host.config.state_dir / "secrets"
    tried = host.client().call(THIEF, "steal", [str(folder / "external.login"), "/state/../secrets/external.login"])
    assert all("Error" in said for said in tried), tried
    own = (folder / "external.thief").read_bytes()
    (folder / "external.thief").write_bytes((folder / "external.login").read_bytes())  # by a mistaken operator
    assert host.cli("restart", "external.thief").returncode != 0
    assert "the secret broker of external/thief is damaged: set it again" in words_of_failed(host, "external.thief")
    (folder / "external.thief").write_bytes(own)
    assert host.cli("restart", "external.thief").returncode == 0
    assert host.client().call(THIEF, "token") == b"its own".hex()


def test_it_outlives_another_master_key_and_a_restart(host: RunningHost) -> None:
    for address in (LOGIN, THIEF, SLOW):
        set_secret(host, address, VALUE)
    assert host.cli("rotate", "--master").returncode == 0
    assert host.cli("restart", "external.login").returncode == 0
    assert host.client().call(LOGIN, "token") == VALUE.hex()
    host.stop()
    host.start()
    assert host.client().call(LOGIN, "token") == VALUE.hex()
    host.cli("secret", "remove", LOGIN, "broker")
    assert host.cli("restart", "external.login").returncode != 0


def test_a_process_is_born_before_another_master_key_and_joins_after_it(host: RunningHost) -> None:
    set_secret(host, SLOW, VALUE)
    gate = host.config.state_dir / "external.slow" / "gate"
    os.mkfifo(gate)
    gate.chmod(0o644)
    restart = subprocess.Popen(host.command("restart", "external.slow"), cwd=host.base, stdout=subprocess.DEVNULL)
    with open(gate, "wb"):  # once it is opened there: the process has the sealings of the key before, and no key
        gate.unlink()
        assert host.cli("rotate", "--master").returncode == 0
    restart.wait(60)
    host.until(lambda status: state_of(status, "external.slow") == "active", "external.slow is active")
    assert host.client().call(SLOW, "token") == VALUE.hex()
    assert "its secrets were sealed by another master_key than the one that is in force" in host.log("external.slow")


def state_of(status: dict[str, Any], process: str) -> str:
    return next(str(loop["state"]) for loop in status["loops"] if loop["name"] == process)


def test_what_no_component_asks_for_is_refused(host: RunningHost) -> None:
    done = host.cli("secret", "set", "external/logon", "broker")
    assert (done.returncode, "did you mean external/login?" in done.stderr) == (64, True)
    done = host.cli("secret", "set", LOGIN, "borker")
    assert (done.returncode, "did you mean broker?" in done.stderr) == (64, True)
    done = host.cli("secret", "remove", LOGIN, "borker")
    assert (done.returncode, "has no secret borker" in done.stderr) == (78, True)
