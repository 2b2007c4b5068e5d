"""Clients that are enrolled while a real host runs, by the commands that people use."""

from __future__ import annotations

import io
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hosts.running_host import RunningHost, running

from tlsrt.channels.cli.main import main as command
from tlsrt.channels.client.sync_client import Client
from tlsrt.config.bundle import read_bundle
from tlsrt.errors import EX_UNAVAILABLE, TlsrtError
from tlsrt.supervisor.cli.main import main

STORE = "secondary/store"
TRIES = 5


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


def client(host: RunningHost, *words: str, code: int = 0) -> str:
    """Run `tlsrt-supervisor client`, in this process; return what it said."""
    return run(main, ["client", *words, "--config", str(host.config_path)], code)


def tlsrt(*words: str, code: int = 0) -> str:
    """Run `tlsrt`, in this process."""
    return run(command, words, code)


def run(entry: Callable[[Sequence[str]], int], words: Sequence[str], code: int) -> str:
    """Run a command again if its record took the disk longer than 250 ms: then nothing has changed, and it says so."""
    for _ in range(TRIES):
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            got = entry(words)
        if got != EX_UNAVAILABLE:
            break
    assert got == code, said.getvalue()
    return said.getvalue()


def listed(host: RunningHost, name: str) -> dict[str, object]:
    found = json.loads(client(host, "list", "--json"))["clients"]
    return next(each for each in found if each["name"] == name)


def bundle(host: RunningHost, name: str, *words: str) -> Path:
    path = host.base / f"{name}{len(os.listdir(host.base))}.tlsrt"
    client(host, "add", name, "--allow", "secondary/store: [get, put]", "--bundle", str(path), *words)
    return path


def test_an_offline_bundle_works_at_once_and_only_for_what_it_allows(host: RunningHost) -> None:
    path = bundle(host, "phone")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Client(path) as phone:
        assert phone.call(STORE, "put", "k", "v") == {"revision": 1}
        with pytest.raises(TlsrtError, match="no policy line allows it"):
            phone.call("primary/kernel", "uname")
        assert listed(host, "phone")["sessions"] == 1
    said = client(host, "add", "other", "--allow", "secondary/store: get", "--bundle", str(path), code=78)
    assert "never overwrites" in said and json.loads(path.read_text())["name"] == "phone"
    assert "other" not in client(host, "list"), "nobody was enrolled"


def test_it_outlives_the_authority_and_the_host(host: RunningHost) -> None:
    """Killed as soon as it was acknowledged: what was printed is true."""
    path = bundle(host, "lasting")
    host.kill("authority")
    with Client(path) as lasting:
        lasting.call(STORE, "put", "a", 1, timeout_s=30)
    host.restart()
    with Client(path) as lasting:
        assert lasting.call(STORE, "get", "a") == 1


def test_revoked_means_that_the_connection_closes_now(host: RunningHost) -> None:
    path = bundle(host, "brief")
    with Client(path) as brief:
        brief.call(STORE, "put", "b", 1)
        client(host, "revoke", "brief")
        with pytest.raises(TlsrtError, match="refused the session"):
            brief.call(STORE, "get", "b", timeout_s=5)
    with pytest.raises(TlsrtError, match="refused the session"), Client(path) as brief:
        brief.call(STORE, "get", "b", timeout_s=5)
    assert listed(host, "brief")["revoked_ms"]


def test_a_renewed_client_uses_its_new_certificate(host: RunningHost) -> None:
    old, new = bundle(host, "tablet"), host.base / "tablet-new.tlsrt"
    client(host, "renew", "tablet", "--bundle", str(new), "--ttl", "12h")
    with Client(old) as tablet:
        tablet.call(STORE, "put", "t", 1)
    with Client(new) as tablet:
        assert tablet.call(STORE, "get", "t") == 1
    with pytest.raises(TlsrtError, match="refused the session"), Client(old) as tablet:
        tablet.call(STORE, "get", "t", timeout_s=5)
    ends = listed(host, "tablet")["certificates"][0]["ends_ms"]  # type: ignore[index]
    assert ends < (time.time() + 13 * 3600) * 1000


def test_a_join_code_enrols_from_another_terminal_once(host: RunningHost) -> None:
    """From the operator's command to the answer of a call, in the words that people type."""
    began = time.monotonic()
    said = client(host, "add", "laptop", "--allow", "secondary/store: [get, put]", "--ttl", "90d")
    _, where, code = next(line.split()[1:] for line in said.splitlines() if "tlsrt enroll" in line)
    assert where == f"127.0.0.1:{host.port}" and "once, within 10 minutes" in said
    path = host.base / "machine" / "laptop.tlsrt"
    assert "enrolled as laptop; bundle written to" in tlsrt("enroll", where, code, "--bundle", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "revision" in tlsrt("--bundle", str(path), "call", STORE, "put", "greeting", "hello")
    assert time.monotonic() - began < 60
    assert listed(host, "laptop")["certificates"]
    again = tlsrt("enroll", where, code, "--bundle", str(path.with_name("again")), code=77)
    assert "the host refused this join code" in again and not path.with_name("again").exists()
    assert "never overwrites" in tlsrt("enroll", where, code, "--bundle", str(path), code=78)


def test_a_code_that_was_printed_is_good_after_a_crash(host: RunningHost) -> None:
    text = json.loads(client(host, "add", "patient", "--allow", "secondary/store: get", "--json"))["code"]
    host.kill("authority")
    path = host.base / "patient.tlsrt"
    host.until(lambda status: status["authority"]["state"] == "active", "the authority")
    tlsrt("enroll", f"127.0.0.1:{host.port}", text, "--bundle", str(path))
    with Client(path) as patient:
        assert patient.describe(STORE)


def test_a_client_renews_itself_and_the_old_certificate_ends(host: RunningHost) -> None:
    path = bundle(host, "steady", "--ttl", "12h")
    old = host.base / "steady-old.tlsrt"
    old.write_bytes(path.read_bytes())
    old.chmod(0o600)
    with Client(path) as elsewhere:  # another process of the same client, with the old certificate in its memory
        elsewhere.call(STORE, "put", "steady", 1)
        assert "certificate of client/steady renewed" in tlsrt("--bundle", str(path), "renew")
        assert read_bundle(path).certificate_pem != read_bundle(old).certificate_pem
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert elsewhere.call(STORE, "get", "steady", idempotent=True) == 1, "it takes the new one from the file"
    with pytest.raises(TlsrtError, match="refused the session"), Client(old) as late:
        late.describe(STORE)
    assert len(listed(host, "steady")["certificates"]) == 1  # type: ignore[arg-type]


def test_a_certificate_is_renewed_by_itself_when_most_of_its_life_has_passed(
    host: RunningHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle(host, "self", "--ttl", "12h")
    before = read_bundle(path).certificate_pem
    monkeypatch.setattr("tlsrt.channels.client.certificate_renewal.FIRST_CHECK_S", 0.0)
    monkeypatch.setattr("tlsrt.channels.session.certificate_renewal.SHARE", 0.0)
    monkeypatch.setattr("tlsrt.channels.session.certificate_renewal.JITTER", 0.0)
    with Client(path) as client_:
        host.until(lambda _: read_bundle(path).certificate_pem != before, "the renewal")
        assert client_.describe(STORE)
    with Client(path) as client_:
        assert client_.describe(STORE)


def test_a_listed_client_is_told_that_it_cannot_renew_itself(host: RunningHost) -> None:
    admin = host.base / "d" / "admin.tlsrt"
    before = admin.read_bytes()
    assert "gives this client no other certificate" in tlsrt("--bundle", str(admin), "renew", code=77)
    assert admin.read_bytes() == before
    assert "renewal_of_a_listed_client" in host.log("authority")


def test_what_a_client_may_call_is_changed_while_it_is_here_and_stays(host: RunningHost) -> None:
    path = bundle(host, "changing")
    with Client(path) as changing:
        changing.call(STORE, "put", "c", 1)
        said = client(host, "set", "changing", "--allow", "primary/kernel: uname")
        assert "rights updated" in said and "session closed" in said and "persisted" in said
        assert changing.call("primary/kernel", "uname", timeout_s=10), "it came again by itself"
        with pytest.raises(TlsrtError, match="no policy line allows it"):
            changing.call(STORE, "get", "c")
    host.kill("authority")  # as soon as it was answered, and it is so
    with Client(path) as changing:
        assert set(changing.rights) == {"primary/kernel"}
    assert host.cli("reload").returncode == 0
    with Client(path) as changing:
        assert set(changing.rights) == {"primary/kernel"}
    assert listed(host, "changing")["allow"] == {"primary/kernel": ["uname"]}


def test_an_enrolled_client_locks_and_unlocks_when_it_may(host: RunningHost) -> None:
    path = str(bundle(host, "guard"))
    assert "this client may not lock the host" in tlsrt("--bundle", path, "lock", code=77)
    client(host, "set", "guard", "--may", "lock,unlock")
    host.restart()
    assert "; the host: lock, unlock" in client(host, "list")
    assert "locked" in tlsrt("--bundle", path, "lock", "--reason", "seen at the gate")
    said = client(host, "set", "guard", "--may", "nothing", code=64)
    assert "the host is locked" in said
    assert "unlocked" in tlsrt("--bundle", path, "unlock")
    client(host, "set", "guard", "--may", "nothing")
    assert "this client may not lock the host" in tlsrt("--bundle", path, "lock", code=77)
    assert host.status()["lock"] is None


def test_mistakes_are_one_sentence(host: RunningHost) -> None:
    where = str(host.base / "never.tlsrt")
    bundle(host, "here")
    for words, code, sentence in (
        (("add", "x"), 64, "say what the client may call"),
        (("add", "x", "--allow", "secondary/shop: get", "--bundle", where), 64, "there is no component secondary/shop"),
        (("add", "x", "--allow", "secondary store", "--bundle", where), 78, "is no rule"),
        (("add", "admin", "--allow", "secondary/store: get", "--bundle", where), 64, "the configuration lists"),
        (("add", "x", "--allow", "secondary/store: get", "--http", "--bundle", where), 64, "serves no HTTP"),
        (("revoke", "admin"), 64, "is listed in the configuration"),
        (("renew", "nobody", "--bundle", where), 64, "there is no client nobody"),
        (("list", "x"), 64, "too many arguments: x"),
        (("set", "admin", "--may", "lock"), 64, "is listed in the configuration"),
        (("set", "x"), 64, "say what it may do from now on"),
        (("set", "x", "--may", "lock", "--ttl", "1d"), 64, "there is no option --ttl"),
        (("set", "here", "--may", "lock,reboot"), 64, "a client may lock, unlock and operate the host, or nothing"),
        (("add", "x", "--allow", "secondary/store: get", "--may", "lock"), 64, "there is no option --may"),
    ):
        said = client(host, *words, code=code)
        assert sentence in said and said.count("\n") == 1, said
    assert not os.path.exists(where)
