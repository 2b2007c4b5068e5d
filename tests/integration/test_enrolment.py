"""Clients that are enrolled while a real host runs, by the commands that people use."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running import RunningHost, running

from tlsrt.channels.sync_client import Client
from tlsrt.errors import TlsrtError

STORE = "secondary/store"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


def client(host: RunningHost, *words: str, code: int = 0) -> str:
    """Run `tlsrt-supervisor client`; return what it said."""
    done = host.cli("client", *words)
    assert done.returncode == code, done
    return done.stdout + done.stderr


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


def test_mistakes_are_one_sentence(host: RunningHost) -> None:
    where = str(host.base / "never.tlsrt")
    for words, code, sentence in (
        (("add", "x"), 64, "say what the client may call"),
        (("add", "x", "--allow", "secondary/shop: get", "--bundle", where), 64, "there is no component secondary/shop"),
        (("add", "x", "--allow", "secondary store", "--bundle", where), 78, "is no rule"),
        (("add", "admin", "--allow", "secondary/store: get", "--bundle", where), 64, "the configuration lists"),
        (("add", "x", "--allow", "secondary/store: get", "--http", "--bundle", where), 64, "serves no HTTP"),
        (("revoke", "admin"), 64, "is listed in the configuration"),
        (("renew", "nobody", "--bundle", where), 64, "there is no client nobody"),
        (("list", "x"), 64, "takes no name"),
    ):
        said = client(host, *words, code=code)
        assert sentence in said and said.count("\n") == 1, said
    assert not os.path.exists(where)
