"""A real authority learns what a client does usually, and says when it does something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.authority_host import ADMIN, AuthorityHost, Client, make_config

from tlsrt.channels.control.telemetry import LOOKS, Window, pack_rows

USUAL = Window(40, 12_000, 16_000, 0, 0, 0, 2, LOOKS, 8)
WILD = USUAL._replace(bytes_out=160_000_000, methods=511, open_calls=300)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AuthorityHost]:
    host = AuthorityHost(make_config(tmp_path))
    host.start()
    host.join("primary", "third")
    yield host
    host.close()


def tell(host: AuthorityHost, loop: str, session: bytes, *windows: Window) -> None:
    for window in windows:
        host.loops[loop].send_patiently("telemetry", pack_rows([(session, window)]))


def noted(host: AuthorityHost) -> list[list[object]]:
    host.settle()
    return [note for fields in host.office.all("noted") for note in fields[0] if note[0] == "unusual"]


def test_a_client_that_changes_its_ways_is_told_of(host: AuthorityHost) -> None:
    primary, client = host.loops["primary"], Client(ADMIN)
    primary.send("challenge", 1)
    challenge = primary.wait("challenged")[1]
    primary.send("open", 1, *client.open(challenge))
    session = primary.wait("granted")[4]
    tell(host, "primary", session, *[USUAL] * 70)
    assert noted(host) == []
    tell(host, "primary", session, WILD)
    host.office.wait("noted", lambda fields: any(note[0] == "unusual" for note in fields[0]))
    [[_, subject, words, _]] = noted(host)
    assert subject == "client/admin"
    assert "bytes out: 160000000, usually 16383" in str(words)


def test_nobody_but_primary_tells_of_traffic(host: AuthorityHost) -> None:
    tell(host, "third", bytes(16), WILD)
    assert "not_primary" in host.office.wait("event")[1]


def test_a_captured_primary_that_tells_nonsense_loses_its_channel(host: AuthorityHost) -> None:
    host.loops["primary"].send("telemetry", [[bytes(16), "x"]])
    assert "bad_row" in host.office.wait("event")[1]
