"""The audit log of a whole host: on a disk that is full, on one that does not answer, and when it is killed.

What was acknowledged is in the log, whatever comes; and a disk that takes no record holds up nobody but those who want
to be let in.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import request_body, seal
from attackers.stopped_thread import stopped, thread_of
from attackers.tls_peer import open_session
from chaos.host import Cradle
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hosts.audit_files import read, records, verified
from hosts.key_log import tells_keys
from hosts.running_host import READY_S, RunningHost

from tlsrt import Client as TlsClient
from tlsrt.channels.cli.main import main as command
from tlsrt.channels.clock import Moment
from tlsrt.config import key_schedule
from tlsrt.config.bundle import read_bundle
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.audit.open import AuditKeys, open_log, public_of
from tlsrt.supervisor.audit.record import LogRecord
from tlsrt.supervisor.audit.writer import Work
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.control.client import ControlClient

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs a disk of its own, and threads of others to stop")
KEPT_S = 5.0  # until an operator is told that a revocation is in force and not on the disk yet
REFUSED_S = 0.25
# The authority tells in its log every key that it derives.
TELLS_KEYS = tells_keys("expand", "extract", "token_key", "mailbox_root", "gate_root", "proof_key", "request_key")
LOAD_S = 1.0  # how much later a loaded machine may show it


class AuditHost(RunningHost):
    """A host whose state is on a small disk of its own."""

    def __init__(self) -> None:
        super().__init__(
            clients=["one", "two"], policy={"client/* -> */*": "*"}, prelude=TELLS_KEYS, detection={"mode": "observe"}
        )  # fmt: skip
        self.config.state_dir.mkdir(exist_ok=True)
        self.cradle = Cradle(self.config.state_dir)
        self._witness = self.cradle.command

    @property
    def audit(self) -> Path:
        return self.cradle.disk / "authority" / "audit"

    def root(self) -> bytes:
        master = self.config.master_key.path
        assert master is not None
        return key_schedule.audit_root(key_schedule.extract(self.config.install_id, master.read_bytes()))

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        with ControlClient(self.config.run_dir) as client:
            return client.ask(verb, timeout_s=60.0, **fields)

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def after_death(self) -> None:
        """The supervisor was killed: read the console to its end."""
        process, self.process = self.process, None
        assert process is not None
        with process:
            self.output.read_to_end(process, READY_S)
            process.wait(20)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.cradle.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[AuditHost]:
    failed = request.session.testsfailed
    with AuditHost() as host:
        yield host
        if request.session.testsfailed > failed:
            host.print_logs()


def refused_within(host: AuditHost, name: str) -> float:
    """Have a client refused; return how long that took, its TLS and all."""
    began = time.monotonic()
    with pytest.raises(TlsrtError), TlsClient(host.bundle(name)) as client:
        client.call("secondary/store", "keys")
    return time.monotonic() - began


def let_in(host: AuditHost, name: str) -> object:
    """Open a session, however long that takes, and call."""
    with TlsClient(host.bundle(name)) as client:
        return client.call("secondary/store", "keys")


def revoked(host: AuditHost, component: str) -> str:
    """Shut a component out; return why that is not in the log, if it is not."""
    answer = host.ask("revoke", kind="component", what=component, for_ms=0)
    assert [each["subject"] for each in answer["subjects"]] == [component]
    return str(answer.get("unrecorded", ""))


def fill_the_last_page(host: AuditHost) -> str:
    """Let records use what the log's last page has left; return what is said then."""
    for _ in range(100):
        if problem := revoked(host, "forth/power"):
            return problem
    raise AssertionError("the disk has room without end")


@needs_root
def test_a_disk_that_does_not_answer_lets_nobody_in_and_holds_up_nobody_else(host: AuditHost) -> None:
    with (
        ThreadPoolExecutor(2) as pool,
        TlsClient(host.bundle("one")) as inside,
        TlsClient(host.bundle("two")) as idle,
    ):
        assert idle.call("secondary/store", "keys") == []
        with stopped(thread_of(host.status()["authority"]["pid"], "audit")):
            late = pool.submit(let_in, host, "two")
            for _ in range(50):  # calls go on, and so does the authority's feed, without which they would end after 3 s
                assert inside.call("secondary/store", "keys") == []
            began = time.monotonic()
            assert "its disk stalls" in revoked(host, "forth/power")
            assert time.monotonic() - began < REFUSED_S + LOAD_S
            restored = pool.submit(host.ask, "restore", kind="component", what="forth/power")
            host.wait_until(lambda: "its disk stalls" in host.status()["audit"]["problem"], "status says why")
            assert not late.done() and not restored.done()
        assert late.result() == [] and restored.result()["stored"], "both succeed, late"
        host.wait_until(
            lambda: "revoke" in [each.kind for each in records(host.audit)], "what was done has its record, late"
        )
        assert "not_done" not in [each.kind for each in records(host.audit)]
        assert inside.call("secondary/store", "keys") == []
    with TlsClient(host.bundle("two")) as again:
        assert again.call("secondary/store", "keys") == []
    verified(host.audit, host.root())


@needs_root
def test_a_state_that_cannot_be_written_lets_nobody_in_again_and_holds_up_nobody_else(host: AuditHost) -> None:
    """The thread that writes the state stands still, as on a disk that hangs; the audit log is written meanwhile."""
    with TlsClient(host.bundle("one")) as inside, stopped(thread_of(host.status()["authority"]["pid"], "state")):
        began = time.monotonic()
        answer = host.ask("revoke", kind="client", what="two", for_ms=0)
        assert not answer["stored"] and [each["subject"] for each in answer["subjects"]] == ["client/two"]
        assert time.monotonic() - began < KEPT_S + LOAD_S
        assert refused_within(host, "two") < REFUSED_S + LOAD_S
        for _ in range(50):
            assert inside.call("secondary/store", "keys") == []
        assert "did not answer within 1000 ms" in host.status()["authority"]["unwritten"]
    host.wait_until(lambda: not host.status()["authority"]["unwritten"], "what was revoked is on the disk")
    host.kill("authority")
    host.wait_until(lambda: host.status()["authority"]["state"] == "active", "another authority")
    assert refused_within(host, "two") < 20
    assert host.ask("restore", kind="client", what="two")["stored"]
    with TlsClient(host.bundle("two")) as again:
        assert again.call("secondary/store", "keys") == []


@needs_root
def test_a_full_disk_lets_nobody_in_and_holds_up_nobody_else(host: AuditHost) -> None:
    with ThreadPoolExecutor(1) as pool, TlsClient(host.bundle("one")) as inside:
        host.cradle.fill()
        try:
            assert "No space left on device" in fill_the_last_page(host)
            late = pool.submit(let_in, host, "two")
            assert inside.call("secondary/store", "keys") == []
            assert "No space left on device" in revoked(host, "forth/power")
            host.wait_for("^authority +audit +.*no session is opened")
            assert "No space left on device" in host.status()["audit"]["problem"]
            assert not late.done()
        finally:
            host.cradle.free()
        host.wait_until(lambda: not host.status()["audit"]["problem"], "status says so by itself")
        assert late.result() == []
    assert host.ask("restore", kind="component", what="forth/power")["stored"]
    present, _ = read(host.audit)[-1]
    stands = host.status()["audit"]
    assert present.endswith(f"{stands['file']}.log") and 0 < stands["head"]["sequence"] <= stands["sequence"]
    assert 0 < stands["bytes"] <= stands["keep_bytes"] and stands["dropped"] == 0
    with TlsClient(host.bundle("two")) as again:
        assert again.call("secondary/store", "keys") == []
    verified(host.audit, host.root())


def written(secret: bytes) -> set[bytes]:
    """What a secret would look like in a log."""
    encodings = (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode)
    texts = [secret.hex().encode(), *(encode(secret).rstrip(b"=") for encode in encodings)]
    return {secret, *texts, *(text.lower() for text in texts), *(text.upper() for text in texts)}


def planted(host: AuditHost, kind: str) -> Path:
    path = host.base / f"{kind}.planted"
    assert main(["honeypot", "plant", kind, str(path), "--number", "3", "--config", str(host.config_path)]) == 0
    return path


@needs_root
def test_no_secret_of_a_host_reaches_its_log(host: AuditHost, capsys: pytest.CaptureFixture[str]) -> None:
    """Enrolment by a code, canaries that are touched, a session, a lock and its end, and the keys of all that."""
    secrets: set[bytes] = set()
    add = ("client", "add", "laptop", "--allow", "secondary/store: get", "--json", "--config", str(host.config_path))
    assert main(add) == 0
    code = json.loads(capsys.readouterr().out)["code"]
    secrets |= {code.encode(), code.split("-")[1].encode()}
    enrolled = host.base / "laptop.tlsrt"
    number, secret, pin = code.split("-")
    wrong = f"{number}-{secret[8:]}{secret[:8]}-{pin}"
    assert command(("enroll", f"127.0.0.1:{host.port}", wrong, "--bundle", str(enrolled))) != 0
    assert command(("enroll", f"127.0.0.1:{host.port}", code, "--bundle", str(enrolled))) == 0
    token = planted(host, "token").read_text().removeprefix("TLSRT_TOKEN=").strip()
    stolen = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    thief = read_bundle(planted(host, "client"))
    with open_session(host, "admin") as peer:
        right, content = peer.right("secondary/store"), peer.content
        secrets |= written(right.key) | written(content.proof_key) | written(content.token)
        frame = {"body_key": right.key, "proof_key": content.proof_key}
        peer.send(seal(peer.header("secondary/store", "get", 1), request_body("x"), token=stolen, **frame))
        assert peer.frame()
    with pytest.raises(TlsrtError), TlsClient(thief) as client:
        client.call("secondary/store", "keys", timeout_s=10)
    host.wait_until(
        lambda: all(said in b"".join(data for _, data in read(host.audit)) for said in (b"token 3", b"client 3")),
        "both canaries are told",
    )
    host.ask("lock", reason="somebody was at the door")
    host.ask("unlock")
    master = host.config.master_key.path
    assert master is not None
    secrets |= written(master.read_bytes()) | written(stolen)
    bundles = [*map(host.bundle, ("admin", "one", "two")), thief, read_bundle(enrolled)]
    for pem in [*(bundle.key_pem for bundle in bundles), (host.folder / "ca.key").read_bytes()]:
        key = load_pem_private_key(pem, None)
        assert isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey)
        raw = key.private_bytes_raw() if isinstance(key, Ed25519PrivateKey) else b""
        raw = raw or key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
        secrets |= written(raw) | {line for line in pem.splitlines() if not line.startswith(b"-")}
    told = [line.split() for line in host.log("authority").splitlines() if line.startswith("KEY ")]
    for _, _, key_hex in told:
        secrets |= written(bytes.fromhex(key_hex))
    assert len({name for _, name, _ in told}) >= 5 and all(len(secret) >= 8 for secret in secrets)
    expected = {"client_added", "client_enrolled", "decoy_touched", "session_opened", "locked", "unlocked"}
    host.wait_until(lambda: expected <= {each.kind for each in records(host.audit)}, "all of it is recorded")
    log = b"".join(data for _, data in read(host.audit))
    assert not [secret for secret in secrets if secret in log]
    host.wait_until(lambda: all(each["state"] == "active" for each in host.status()["loops"]), "all run again")


@needs_root
def test_a_host_that_is_killed_and_one_that_is_stopped_leave_a_log_that_is_whole(host: AuditHost) -> None:
    for name in ("authority", "supervisor"):
        status = host.status()
        with TlsClient(host.bundle("one")) as client:
            client.call("secondary/store", "keys")
            pid = status[name]["pid"]
            os.kill(pid, signal.SIGKILL)
        if name == "authority":
            host.wait_until(lambda status=status: _is_new(host, status), "another authority")  # type: ignore[misc]
        else:
            host.after_death()
            host.start()
        report = verified(host.audit, host.root())
        assert not report.is_closed
    assert host.stop() == 0
    assert verified(host.audit, host.root(), must_be_closed=True).is_closed
    sessions = [each for each in records(host.audit) if each.kind == "session_opened" and each.subject == "client/one"]
    assert len(sessions) >= 2
    key = host.folder / "audit.key"
    key.write_text(public_of(host.root()).hex())
    done = host.cli("audit", "verify", "--folder", str(host.audit), "--key", str(key), "--closed", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["is_whole"]


@needs_root
@pytest.mark.stress
@pytest.mark.timeout(300)
def test_a_confined_authority_removes_the_oldest_files(tmp_path: Path) -> None:
    """A log of 20 MiB, as a life of the same master_key wrote it, and a host that keeps 16."""
    with RunningHost(clients=["one"], extra={"audit": {"keep_mb": 16}}, policy={"client/* -> */*": "*"}) as host:
        assert host.stop() == 0
        master = host.config.master_key.path
        assert master is not None
        root = key_schedule.audit_root(key_schedule.extract(host.config.install_id, master.read_bytes()))
        folder = host.config.state_dir / "authority"
        owner = (folder / "audit").stat()
        state = os.open(folder, os.O_RDONLY)
        given = AuditKeys(bytes(bytearray(root)), host.config.install_id, bytes(16), 9999)
        writer = open_log(state, given, "boot", {}, Moment(1, 1), os.urandom).writer
        many = [LogRecord(1, 1, "offence", "third", (("what", "x" * 200),))] * 512
        while len(read(folder / "audit")) < 7:
            assert not writer.write(Work(many, 1, 1)).problem
        writer.close()
        os.close(state)
        for path in (folder / "audit").iterdir():
            os.chown(path, owner.st_uid, owner.st_gid)
        host.start()
        end = time.monotonic() + 60
        while sum(len(data) for _, data in read(folder / "audit")) > 16 << 20:
            assert time.monotonic() < end
            with TlsClient(host.bundle("one")) as client:  # a record
                client.call("secondary/store", "keys")
        assert host.stop() == 0
        done = host.cli("audit", "verify", "--closed", "--json")
        report = json.loads(done.stdout)
        assert done.returncode == 0 and report["missing_files"] >= 2 and report["gone_records"] > 10_000


def _is_new(host: AuditHost, before: dict[str, Any]) -> bool:
    authority = host.status()["authority"]
    return bool(authority["state"] == "active" and authority["pid"] != before["authority"]["pid"])
