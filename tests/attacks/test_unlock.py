"""Attacked sentence: only a client that may, and that signs this lock and this challenge, unlocks the host.

Not by a signature that was seen before, of another lock, over another connection, for another purpose, or of somebody
else; and Primary, which carries it, can do nothing with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from attackers.tls_peer import TlsPeer
from hosts.running_host import RunningHost, running

from tlsrt.backoff import Backoff
from tlsrt.channels.cli import main
from tlsrt.channels.session.lock_statement import lock_statement, sign_statement, unlock_statement
from tlsrt.channels.tls.message_stream import Control, encode_control
from tlsrt.errors import EX_LOCKED, EX_NOPERM, EX_USAGE
from tlsrt.supervisor.control.client import ControlClient

REASON = "seen at the gate"
MAY = {"ops": ["lock", "unlock"], "guard": ["lock"]}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {"client/* -> */*": "*"}
    yield from running(request, clients=["ops", "guard", "eve"], may=MAY, policy=policy)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients of this process come again at once: how long they wait is tested elsewhere."""
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_REFUSED_S", 0.05)
    monkeypatch.setattr("tlsrt.channels.client.session.PAUSE_MAX_S", 0.2)


@pytest.fixture
def locked(host: RunningHost) -> RunningHost:
    if host.status()["lock"] is None:
        with ControlClient(host.config.run_dir) as client:
            client.ask("lock", reason=REASON)
    host.until(
        lambda document: all(loop["state"] == "active" for loop in document["loops"]), "a locked door", timeout_s=30
    )
    return host


def tlsrt(host: RunningHost, name: str, *words: str) -> int:
    """Run `tlsrt` with the bundle of a client; return its exit code."""
    return main.main(["--bundle", str(host.folder / f"{name}.tlsrt"), *words])


class Asker(TlsPeer):
    """A client at the door of a locked host, with its challenge in hand."""

    def __init__(self, host: RunningHost, name: str = "ops") -> None:
        super().__init__(host, name)
        said = self.control()
        assert said.name == "locked", said
        self.install, self.boot, self.lock = said.fields
        self.send(encode_control("ask_unlock"))
        _, _, self.challenge_bytes = self.challenge()

    def sign(self, *, lock: bytes = b"", challenge: bytes = b"") -> bytes:
        statement = unlock_statement(
            self.install, self.boot, lock or self.lock, challenge or self.challenge_bytes
        )  # fmt: skip
        return sign_statement(self.identity.private_key, statement)

    def unlock(self, signature: bytes, certificate: bytes = b"") -> Control:
        """Send this, and return what comes of it."""
        self.send(encode_control("unlock", certificate or self.identity.certificate, signature))
        return self.control()


def replayed(host: RunningHost) -> Control:
    with Asker(host) as first:
        seen = first.sign()
    with Asker(host) as second:
        return second.unlock(seen)


def of_another_lock(host: RunningHost) -> Control:
    with Asker(host) as peer:
        return peer.unlock(peer.sign(lock=b"x" * 16))


def over_another_connection(host: RunningHost) -> Control:
    with Asker(host) as mine, Asker(host, "eve") as hers:
        return hers.unlock(mine.sign(), mine.identity.certificate)


def by_one_that_may_not(host: RunningHost) -> Control:
    with Asker(host, "eve") as peer:
        return peer.unlock(peer.sign())


def by_one_that_may_only_lock(host: RunningHost) -> Control:
    with Asker(host, "guard") as peer:
        return peer.unlock(peer.sign())


def with_the_certificate_of_another(host: RunningHost) -> Control:
    with Asker(host, "eve") as peer, TlsPeer(host, "ops") as other:
        return peer.unlock(peer.sign(), other.identity.certificate)


def for_another_purpose(host: RunningHost) -> Control:
    with Asker(host) as peer:
        statement = lock_statement(peer.install, peer.boot, peer.challenge_bytes, "")
        return peer.unlock(sign_statement(peer.identity.private_key, statement))


def before_a_challenge(host: RunningHost) -> Control:
    with TlsPeer(host, "ops") as peer:
        _, (install, boot, lock) = peer.control()
        signature = sign_statement(peer.identity.private_key, unlock_statement(install, boot, lock, bytes(32)))
        peer.send(encode_control("unlock", peer.identity.certificate, signature))
        return peer.control()


REFUSED: dict[Callable[[RunningHost], Control], str] = {
    replayed: "open_signature", of_another_lock: "open_signature", over_another_connection: "open_signature",
    by_one_that_may_not: "may_not_unlock", by_one_that_may_only_lock: "may_not_unlock",
    with_the_certificate_of_another: "open_signature", for_another_purpose: "open_signature",
}  # fmt: skip


@pytest.mark.parametrize("attack", REFUSED, ids=lambda attack: attack.__name__)
def test_what_does_not_unlock(locked: RunningHost, attack: Callable[[RunningHost], Control]) -> None:
    before = locked.log("authority").count("may not unlock: ")
    assert attack(locked) == Control("refused", ("rejected",))
    log = locked.log("authority")
    assert log.count("may not unlock: ") == before + 1
    assert log.rstrip().endswith(f"may not unlock: {REFUSED[attack]}")
    assert locked.status()["lock"]["reason"] == REASON


def test_a_signature_without_a_challenge_goes_no_further_than_the_door(locked: RunningHost) -> None:
    before = locked.log("authority")
    assert before_a_challenge(locked) == Control("refused", ("locked",))
    assert locked.log("authority") == before and locked.status()["lock"]


def test_a_challenge_is_good_once(locked: RunningHost) -> None:
    with Asker(locked) as peer:
        assert peer.unlock(b"x" * 70) == Control("refused", ("rejected",))
        assert peer.payload() == b"", "and there is no second try on a connection"


def test_who_may_unlocks_and_who_waits_goes_on(
    locked: RunningHost, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tlsrt(locked, "eve", "call", "secondary/store", "keys") == EX_LOCKED
    assert tlsrt(locked, "eve", "unlock") == EX_NOPERM
    codes: list[int] = []
    waits, pause = threading.Event(), Backoff.pause

    def paused(backoff: Backoff, least_s: float = 0.0) -> float:
        waits.set()
        return pause(backoff, least_s)

    monkeypatch.setattr(Backoff, "pause", paused)
    words = ("--wait-locked", "60", "call", "secondary/store", "put", "waited", "yes")
    waiting = threading.Thread(target=lambda: codes.append(tlsrt(locked, "eve", *words)))
    waiting.start()
    assert waits.wait(30), "it has heard that the host is locked"
    epoch = locked.status()["authority"]["epoch"]
    assert tlsrt(locked, "ops", "unlock") == 0
    assert locked.status()["lock"] is None and locked.status()["authority"]["epoch"] > epoch
    waiting.join(30)
    assert codes == [0]
    assert locked.client("ops").call("secondary/store", "get", "waited") == "yes"
    assert tlsrt(locked, "ops", "unlock") == 1
    said = capfd.readouterr()
    assert "may: [unlock]" in said.err and "not locked" in said.err and REASON not in said.out + said.err
    locked.told("unlock_refused", "by client/ops", by=("events",))


def test_who_may_locks(host: RunningHost, capfd: pytest.CaptureFixture[str]) -> None:
    if host.status()["lock"] is not None:
        assert tlsrt(host, "ops", "unlock") == 0
    assert tlsrt(host, "eve", "lock") == EX_NOPERM and host.status()["lock"] is None
    assert tlsrt(host, "guard", "lock", "--reason", "x" * 201) == EX_USAGE
    assert tlsrt(host, "guard", "lock", "--reason", "by night") == 0
    lock = host.until(lambda document: bool(document["lock"]["stored"]), "a lock on the disk")["lock"]
    assert (lock["reason"], lock["by"]) == ("by night", "client/guard")
    assert tlsrt(host, "guard", "lock") == 0 and host.status()["lock"] == lock
    capfd.readouterr()
    assert tlsrt(host, "ops", "unlock", "--json") == 0
    assert '"locked": false' in capfd.readouterr().out
