"""Another certificate, key, client CA or revocation list, while clients come and talk."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE, VICTIM
from fakes.revocation_lists import make_crl
from hosts.late_prelude import LatePrelude
from hosts.reloading_host import EX_CONFIG, edit, reload, seal_host, set_loop
from hosts.running_host import RunningHost, running

from tlsrt import Client, Rejected
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.client.enroll import enroll
from tlsrt.channels.session.enrolment import parse_code
from tlsrt.config import pki
from tlsrt.config.bundle import read_bundle
from tlsrt.config.pki import Issued
from tlsrt.errors import CallError, TlsrtError

STAGE: dict[str, Any] = {
    "components": {VICTIM: {"class": "captured.counter:Counter", "process": "shared"}},
    "policy": {"client/* -> " + VICTIM: "*"},
    "packages": [PACKAGE], "clients": ["guest"],
}  # fmt: skip


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **STAGE)


def ca_of(host: RunningHost) -> Issued:
    return Issued((host.folder / "ca.crt").read_bytes(), (host.folder / "ca.key").read_bytes())


def renew(host: RunningHost, *, ca: Issued | None = None, now: datetime | None = None) -> Issued:
    """Make another certificate of the same names, and put it there."""
    made = pki.issue_server(ca or ca_of(host), host.config.install_id, "127.0.0.1", now or datetime.now(UTC))
    put(host.folder / "server.crt", made.certificate_pem)
    put(host.folder / "server.key", made.key_pem)
    return made


def put(path: Path, data: bytes) -> None:
    """Replace a file as one should: beside it, then by rename."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(data)
    beside.chmod(0o600)
    beside.rename(path)


def shown(host: RunningHost, client: str = "admin") -> bytes:
    """Return the certificate that the door shows, DER."""
    plain = socket.create_connection(("127.0.0.1", host.port), timeout=20)
    with plain, client_context(host.bundle(client)).wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        return secure.getpeercert(True) or b""


def der_of(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def der(issued: Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.certificate_pem.decode())


def test_a_renewed_certificate_is_served_and_who_is_there_stays(host: RunningHost) -> None:
    client, before = host.client(), shown(host)
    session = client.session_info["session"]
    assert client.call(VICTIM, "add", 1) == 1
    made = renew(host)
    report = reload(host)
    assert report["door"].startswith("certificate good until 20") and report["epoch"] == 1
    assert der(made) != before
    host.until(lambda status: shown(host) == der(made), "the new certificate")  # Primary hears of it a moment later
    assert client.call(VICTIM, "add", 1) == 2 and client.session_info["session"] == session
    assert reload(host)["door"] == "unchanged"


def test_a_name_is_added_while_the_host_runs_and_a_client_enrols_by_it(host: RunningHost, tmp_path: Path) -> None:
    client = host.client()
    early = host.cli("client", "add", "phone", "--allow", f"{VICTIM}: add", "--address", "kettle.test")
    assert early.returncode == EX_CONFIG
    assert "certificate renew --name kettle.test" in early.stderr
    renewed = host.cli("certificate", "renew", "--name", "kettle.test")
    assert renewed.returncode == 0 and "seal" in renewed.stdout and "reload" in renewed.stdout, renewed
    seal_host(host)
    assert reload(host)["door"].startswith("certificate good until 20")
    assert "kettle.test" in host.cli("certificate", "show").stdout
    bundle = tmp_path / "phone.tlsrt"
    words = ("--allow", f"{VICTIM}: add", "--address", "kettle.test", "--bundle", str(bundle))
    added = host.cli("client", "add", "phone", *words)
    assert added.returncode == 0, added
    named = read_bundle(bundle)
    assert (named.host, named.port, named.server_name) == ("kettle.test", host.port, "kettle.test")
    host.until(lambda status: shown(host) == der_of(host.folder / "server.crt"), "the new certificate")
    with Client(named, f"127.0.0.1:{host.port}") as phone:  # no resolver knows the name here
        assert phone.call(VICTIM, "add", 1) == 1
    assert client.call(VICTIM, "add", 1) == 2


def mismatch(host: RunningHost) -> None:
    other = pki.issue_server(ca_of(host), host.config.install_id, "127.0.0.1", datetime.now(UTC))
    put(host.folder / "server.key", other.key_pem)


def half(host: RunningHost) -> None:
    made = renew(host)
    put(host.folder / "server.crt", made.certificate_pem[: len(made.certificate_pem) // 2])


def expired(host: RunningHost) -> None:
    renew(host, now=datetime.now(UTC) - timedelta(days=500))


def future(host: RunningHost) -> None:
    renew(host, now=datetime.now(UTC) + timedelta(days=2))


def missing(host: RunningHost) -> None:
    (host.folder / "server.key").unlink()


def nonsense(host: RunningHost) -> None:
    put(host.folder / "server.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


BAD: list[tuple[Callable[[RunningHost], None], str]] = [
    (mismatch, "does not belong to"), (half, "not a PEM certificate"), (expired, "ended on"), (future, "begins on"),
    (missing, "server.key"), (nonsense, "not a PEM private key"),
]  # fmt: skip


def test_bad_files_are_refused_and_the_old_ones_serve(host: RunningHost) -> None:
    before, files = shown(host), {name: (host.folder / name).read_bytes() for name in ("server.crt", "server.key")}
    client = host.client()
    for spoil, says in BAD:
        spoil(host)
        [sentence] = reload(host, code=EX_CONFIG)["said"]
        assert says in sentence and "Traceback" not in sentence
        for name, data in files.items():
            put(host.folder / name, data)
    assert shown(host) == before and client.call(VICTIM, "add", 1) == 1


def test_what_was_taken_survives_primary_and_authority_whatever_lies_on_the_disk(host: RunningHost) -> None:
    made = renew(host)
    reload(host)
    (host.folder / "server.crt").write_bytes(b"half writ")
    (host.folder / "server.key").unlink()
    os.kill(host.status()["authority"]["pid"], signal.SIGKILL)
    host.until(
        lambda status: bool(status["authority"]["restarts"] == 1 and status["authority"]["state"] == "active"), ""
    )
    host.respawn("primary")
    host.until(lambda status: shown(host) == der(made), "the new certificate")
    with host.client() as client:
        assert client.call(VICTIM, "value") >= 0


def test_another_client_ca_is_taken_only_when_it_was_sealed(request: pytest.FixtureRequest) -> None:
    for host in running(request, **STAGE, extra={"measure": "strict"}):
        client = host.client()
        old, other = host.bundle("admin"), pki.make_ca(host.config.install_id, datetime.now(UTC))
        put(host.folder / "ca.crt", other.certificate_pem)
        [sentence] = reload(host, code=EX_CONFIG)["said"]
        assert "client-ca" in sentence
        assert client.call(VICTIM, "add", 1) == 1
        seal_host(host)
        assert reload(host)["door"] != "unchanged"
        with pytest.raises(CallError):  # its live session has ended, and there is none to be had
            client.call(VICTIM, "add", 1, timeout_s=5)
        with pytest.raises(CallError), Client(old):
            pass


def test_who_is_on_the_revocation_list_is_out_at_once(host: RunningHost) -> None:
    ca, guest = ca_of(host), host.bundle("guest").certificate_pem
    put(host.folder / "revoked.crl", make_crl(ca))
    edit(host, lambda document: document["door"].update(crl="revoked.crl"))
    assert reload(host)["door"] != "unchanged"
    client, admin = Client(host.bundle("guest")), host.client()
    with client:
        assert client.call(VICTIM, "add", 1) == 1
        put(host.folder / "revoked.crl", make_crl(ca, [guest]))
        reload(host)
        with pytest.raises(CallError):
            call_until(client, time.monotonic() + 20)
    with pytest.raises(Rejected), Client(host.bundle("guest")):
        pass
    assert "certificate_revoked" in host.log("authority")
    assert admin.call(VICTIM, "value") >= 1


def test_a_list_that_has_ended_is_refused(host: RunningHost) -> None:
    put(host.folder / "revoked.crl", make_crl(ca_of(host), begins=timedelta(days=-9), lasts=timedelta(days=2)))
    edit(host, lambda document: document["door"].update(crl="revoked.crl"))
    [sentence] = reload(host, code=EX_CONFIG)["said"]
    assert "a list in door.crl ended on" in sentence
    with host.client() as client:
        assert client.call(VICTIM, "value") >= 0


def call_until(client: Client, end: float) -> None:
    while time.monotonic() < end:
        client.call(VICTIM, "value", timeout_s=5)


def under_load(host: RunningHost, count: int) -> None:
    """Reload so often, every fifth time with a bad pair, while clients come, go, and stay."""
    stop, failures, handshakes = threading.Event(), list[str](), [0]
    staying = host.client()
    session = staying.session_info["session"]

    def knock() -> None:
        while not stop.wait(0.06):  # two of them stay below what one certificate may, 50 a second
            try:
                with Client(host.bundle("guest")) as client:
                    client.call(VICTIM, "value", timeout_s=20)
                handshakes[0] += 1
            except Exception as error:  # every one is a finding
                failures.append(f"{type(error).__name__}: {error}")

    def talk() -> None:
        while not stop.wait(0.005):  # the processors are for the reloads as well
            try:
                staying.call(VICTIM, "value", timeout_s=20)
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for work in (knock, knock, talk)]
    for thread in threads:
        thread.start()
    good = renew(host)
    refused = 0
    for number in range(count):
        if number % 5 == 4:
            BAD[number // 5 % len(BAD)][0](host)
            reload(host, code=EX_CONFIG)
            refused += 1
            put(host.folder / "server.crt", good.certificate_pem)
            put(host.folder / "server.key", good.key_pem)
        else:
            good = renew(host)
            assert reload(host)["door"] != "unchanged"
    stop.set()
    for thread in threads:
        thread.join(60)
    assert failures == [] and handshakes[0] >= count
    host.until(lambda status: shown(host) == der(good), "the good certificate")
    assert staying.session_info["session"] == session
    assert refused == count // 5


def test_reloads_under_load_fail_no_handshake_and_drop_no_connection(host: RunningHost) -> None:
    under_load(host, 15)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_a_hundred_reloads_under_load(host: RunningHost) -> None:
    under_load(host, 100)


QUICK = "from tlsrt.supervisor.reload import file_watcher; file_watcher.FileWatcher.look_s = 0.2\n"


def test_files_that_change_are_taken_by_themselves(request: pytest.FixtureRequest) -> None:
    """If so configured: a folder swapped behind links; half a pair not, and the configuration not by accident."""
    for host in running(request, **STAGE, extra={"door": {"watch": True}}, prelude=LatePrelude(QUICK)):
        client, files, seen = host.client(), host.folder / "files", len(host.console)
        session = client.session_info["session"]
        first, second, third = (
            pki.issue_server(ca_of(host), host.config.install_id, "127.0.0.1", datetime.now(UTC)) for _ in range(3)
        )
        for number, pair in (("1", first), ("2", second)):
            (files / number).mkdir(parents=True)
            put(files / number / "server.crt", pair.certificate_pem)
            put(files / number / "server.key", pair.key_pem)
        (files / "..data").symlink_to("1")
        for name in ("server.key", "server.crt"):
            (files / name).symlink_to(files / "..data" / name)
            (files / name).rename(host.folder / name)
        host.until(lambda status: shown(host) == der(first), "what the links lead to")  # noqa: B023
        (files / "..new").symlink_to("2")
        (files / "..new").rename(files / "..data")
        host.until(lambda status: shown(host) == der(second), "what the links lead to now")  # noqa: B023

        seen = len(host.console)
        put(files / "2" / "server.crt", third.certificate_pem)  # the other half comes later
        host.wait_for("reload +refused +the door's key does not belong", after=seen)
        assert shown(host) == der(second)
        before = host.loop("forth")["incarnation"]
        set_loop(host, "forth", memory_mb=333)
        put(files / "2" / "server.key", third.key_pem)
        host.wait_for("reload +refused +files of the door have changed, and so has the configuration", after=seen)
        assert shown(host) == der(second) and host.loop("forth")["incarnation"] == before
        assert reload(host)["door"].startswith("certificate good until")
        host.until(lambda status: shown(host) == der(third), "the whole pair")  # noqa: B023
        refusals = [line for line in host.console[seen:] if " refused " in line]
        assert len(refusals) == 2, refusals
        assert client.call(VICTIM, "value", idempotent=True) == 0 and client.session_info["session"] == session


def test_a_lost_ca_is_replaced_and_both_kinds_of_clients_come(host: RunningHost, tmp_path: Path) -> None:
    """Who was there goes on, who is enrolled anew believes the new CA alone, and at last the former one is dropped."""
    (host.folder / "ca.key").unlink()
    done = host.cli("certificate", "replace-ca", "--yes")
    assert done.returncode == 0, done.stderr
    assert "listed in the configuration" in done.stdout and "certificate replace-ca --finish" in done.stdout
    with host.client("guest") as guest:
        assert guest.call(VICTIM, "add", 1) == 1
    host.restart()
    bundle = host.folder / "phone.tlsrt"
    added = host.cli("client", "add", "phone", "--allow", f'{VICTIM}: "*"', "--bundle", str(bundle))
    assert added.returncode == 0, added.stderr
    new, former = pki.split_pem((host.folder / "ca.crt").read_bytes())
    assert read_bundle(bundle).ca_pem == new != former
    said = host.cli("client", "add", "kiosk", "--allow", f'{VICTIM}: "*"').stdout
    _, where, code = next(line.split()[1:] for line in said.splitlines() if "tlsrt enroll" in line)
    address, port = where.rsplit(":", 1)
    enrolled = tmp_path / "kiosk.tlsrt"
    assert enroll(address, int(port), parse_code(code), enrolled).ca_pem == new
    for one in (bundle, enrolled, host.folder / "guest.tlsrt"):
        with Client(one) as client:
            assert client.call(VICTIM, "add", 1) >= 1
    done = host.cli("certificate", "replace-ca", "--finish", "--yes")
    assert done.returncode == 0, done.stderr
    with Client(bundle) as client:
        assert client.call(VICTIM, "add", 1) >= 1
    with pytest.raises(TlsrtError, match="cannot prove"), Client(host.folder / "guest.tlsrt") as client:
        client.call(VICTIM, "add", 1, timeout_s=10)
