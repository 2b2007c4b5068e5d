"""A state of the authority that is older than the audit log beside it, or missing, is never taken in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosts.running_host import RunningHost

from tlsrt import Client as TlsClient
from tlsrt.errors import Rejected
from tlsrt.supervisor.control.client import ControlClient

EX_CONFIG = 78


@pytest.fixture
def host() -> Iterator[RunningHost]:
    with RunningHost(clients=["low"], policy={"client/* -> */*": "*"}) as host:
        yield host


def state_of(host: RunningHost) -> Path:
    return host.config.state_dir / "authority" / "authority.state"


def ask(host: RunningHost, verb: str, **fields: object) -> None:
    with ControlClient(host.config.run_dir) as client:
        client.ask(verb, timeout_s=60.0, **fields)


def refused(host: RunningHost) -> str:
    """Start the host, which does not come up; return why."""
    errors = host.base / "errors"
    before = len(errors.read_text())
    with pytest.raises(AssertionError, match="the host ended before"):
        host.start()
    assert host.stop() == EX_CONFIG
    return errors.read_text()[before:]


def gone(state: Path, older: bytes) -> None:
    state.unlink()


def put_back(state: Path, older: bytes) -> None:
    state.write_bytes(older)


@pytest.mark.parametrize("change", [put_back, gone])
def test_what_was_revoked_and_locked_does_not_come_back_with_an_older_state(
    host: RunningHost, change: Callable[[Path, bytes], None]
) -> None:
    with TlsClient(host.bundle("low")) as client:
        assert client.call("secondary/store", "keys") == []
    older = state_of(host).read_bytes()
    ask(host, "revoke", kind="client", what="low", for_ms=0)
    ask(host, "lock", reason="a test")
    host.stop()
    newest = state_of(host).read_bytes()
    change(state_of(host), older)
    sentence = refused(host)
    assert "seal --accept-older-state" in sentence and "locked" in sentence, "it says what is lost, and what to do"
    state_of(host).write_bytes(newest)
    host.start("^ready |locked")
    assert host.status()["lock"] is not None, "the newest state is taken as it is"
    host.stop()
    change(state_of(host), older)
    assert host.cli("seal").returncode == 0
    refused(host)  # sealing alone accepts nothing
    accepted = host.cli("seal", "--accept-older-state")
    assert accepted.returncode == 0 and "older than number" in accepted.stdout
    host.start()
    status = host.status()
    assert status["lock"] is None and any("was accepted" in sentence for sentence in status["warnings"])
    host.told("was accepted", by=("audit", "tail", "--json"))
    with TlsClient(host.bundle("low")) as client:
        assert client.call("secondary/store", "keys") == []
    verified = host.cli("audit", "verify")
    assert verified.returncode == 0, verified.stderr
    ask(host, "revoke", kind="client", what="low", for_ms=0)
    host.restart()  # what was accepted was so once
    with pytest.raises(Rejected), TlsClient(host.bundle("low")) as client:
        client.call("secondary/store", "keys")
    host.stop()
    change(state_of(host), older)
    refused(host)


def test_a_state_put_back_after_a_kill_is_noticed_and_the_one_that_was_killed_is_not(host: RunningHost) -> None:
    older = state_of(host).read_bytes()
    ask(host, "revoke", kind="client", what="low", for_ms=0)
    host.until(
        lambda _: '"kind": "state_kept"' in host.cli("audit", "tail", "--json").stdout, "the record of the state"
    )
    for number in range(3):  # an authority that comes again takes its own
        host.kill("authority")
        host.until(lambda status: status["authority"]["restarts"] > number, "another authority")  # noqa: B023
        host.until(lambda status: status["authority"]["state"] == "active", "it serves")
    state_of(host).write_bytes(older)
    host.kill("authority")
    assert host.process is not None
    assert host.process.wait(30) != 0
    assert "older than the audit log" in host.log("authority")
