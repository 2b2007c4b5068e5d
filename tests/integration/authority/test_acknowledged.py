"""An authority that is killed at any point: what it has acknowledged is in the audit log."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hosts.audit_files import records, verified
from hosts.authority_host import ADMIN, INSTALL, MASTER, NONCE, AuthorityHost, Client, make_config

from tlsrt.config import key_schedule
from tlsrt.errors import PeerError

ROOT = key_schedule.audit_root(key_schedule.extract(INSTALL, MASTER))


class Killed:
    """An authority that admits clients until it is killed, again and again; `granted` is what it has acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.host = AuthorityHost(make_config(folder))
        self.folder = self.host.config.state_dir / "audit"
        self.granted: list[str] = []
        self.chance = random.Random(7)

    def life(self, number: int) -> None:
        """Begin a life, of the same boot or of another one, and kill it in the middle of its work."""
        if number % 4 == 3:
            self.host.close()
            self.host = AuthorityHost(self.host.config)
            self.host.nonce = bytes([number % 251]) * len(NONCE)
        self.host.start()
        primary = self.host.loops["primary"]
        primary.send("join")
        self.host.attest("primary")
        self.host.office.wait("joined", lambda fields: fields[0] == "primary")
        count = self.chance.randrange(4)
        boot = key_schedule.boot_id(self.host.nonce)
        for connection in range(1, 2 + count):
            primary.send("challenge", connection)
            heard = primary.wait("challenged", lambda fields, connection=connection: fields[0] == connection)  # type: ignore[misc]
            data, signature = Client(ADMIN).open(heard[1], boot=boot)
            primary.send("open", connection, data, signature)
            if connection <= count:
                granted = primary.wait("granted", lambda fields, connection=connection: fields[0] == connection)  # type: ignore[misc]
                self.granted.append(granted[4].hex())
        until = time.monotonic_ns() + self.chance.randrange(3_000_000)
        while time.monotonic_ns() < until:  # somewhere between the record, the sync and the answer
            pass
        self.host.kill()
        self.drain()

    def drain(self) -> None:
        """Hear what it has acknowledged at the last moment."""
        primary = self.host.loops["primary"]
        try:
            while (message := primary.poll(0)) is not None:
                if message[0] == "granted":
                    self.granted.append(message[1][4].hex())
        except PeerError:
            return

    def check(self) -> None:
        report = verified(self.folder, ROOT)
        opened = {dict(each.detail)["session"] for each in records(self.folder) if each.kind == "session_opened"}
        assert set(self.granted) <= opened
        assert report.missing_files == 0


def kill_often(folder: Path, times: int) -> None:
    killed = Killed(folder)
    try:
        for number in range(times):
            killed.life(number)
            killed.check()
        assert len(killed.granted) > times // 2
        kinds = [each.kind for each in records(killed.folder)]
        assert kinds.count("log_cut") == times - 1 and kinds.count("boot") + kinds.count("resumed") == times
    finally:
        killed.host.close()


def test_whatever_was_acknowledged_before_a_kill_is_in_the_log(tmp_path: Path) -> None:
    kill_often(tmp_path, 18)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_whatever_was_acknowledged_before_200_kills_is_in_the_log(tmp_path: Path) -> None:
    kill_often(tmp_path, 200)
