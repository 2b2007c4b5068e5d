"""What the authority has acknowledged is there in its next life, whenever it was killed: a real process, real kills."""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from pathlib import Path

from hosts.authority_host import AuthorityHost, make_config

from tlsrt.errors import PeerError
from tlsrt.supervisor.messages.result_codes import ResultCode

LIVES = 40
REQUESTS = 4  # of a life, at the most
LONGEST_S = 0.02  # from the first request to the kill: a save takes a few ms
BOOTS = 5  # lives of the authority in one of the host
SUBJECTS = ("primary/kernel", "secondary/store")


class Ledger:
    """What was acknowledged of each thing: that it is revoked, or that it no longer is."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, bytes], bool] = {}
        self.asked: dict[int, tuple[tuple[str, bytes], bool]] = {}
        self.acknowledged = 0

    def ask(self, host: AuthorityHost, number: int, chance: random.Random) -> None:
        """Send one request; from now on nothing is known of what it is about."""
        if chance.random() < 0.5:
            token = chance.randbytes(16)
            host.office.send("revoke", number, "token", token.hex(), 0)
            self.asked[number] = (("token", token), True)
            return
        subject, revokes = chance.choice(SUBJECTS), chance.random() < 0.6
        if revokes:
            host.office.send("revoke", number, "component", subject, 0)
        else:
            host.office.send("restore", number, "component", subject)
        self.asked[number] = (("subject", subject.encode()), revokes)
        self.known.pop(self.asked[number][0], None)

    def hear(self, host: AuthorityHost) -> None:
        """Take down the answers of a life, also those that it gave just before its end."""
        for number, code, _, _ in host.office.all("answer"):
            what, revokes = self.asked.pop(number)
            later = any(what == other for other, _ in self.asked.values())
            if code == ResultCode.DONE and not later:
                self.known[what] = revokes
                self.acknowledged += 1


def kill_and_drain(host: AuthorityHost) -> None:
    os.kill(host.pid, signal.SIGKILL)
    os.waitpid(host.pid, 0)
    host.pid = 0
    for peer in (host.office, *host.loops.values()):  # a feed of this life would be taken for one of the next
        try:
            while peer.poll(0) is not None:
                continue
        except PeerError:
            continue


def test_what_was_acknowledged_is_there_whenever_it_was_killed(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print("seed", seed)
    chance, ledger, number = random.Random(seed), Ledger(), 0
    host = AuthorityHost(make_config(tmp_path))
    try:
        for life in range(LIVES):
            host.nonce = bytes([1 + life // BOOTS]) * 32
            if life % BOOTS == 0:  # tokens of another boot are void by their boot id
                ledger.known = {what: revokes for what, revokes in ledger.known.items() if what[0] == "subject"}
            host.start()
            host.join("third")
            *_, said = host.loops["third"].all("snapshot")
            found = {(kind, value) for kind, value in said[5]}
            for what, revokes in ledger.known.items():
                assert (what in found) == revokes, (
                    f"life {life}: {what} was acknowledged and is {'' if revokes else 'still '}"
                )
            ledger.asked.clear()
            for _ in range(chance.randint(1, REQUESTS)):
                number += 1
                ledger.ask(host, number, chance)
            until = time.monotonic() + chance.random() * LONGEST_S
            while (left := until - time.monotonic()) > 0:
                host.office.poll(left)
            kill_and_drain(host)
            ledger.hear(host)
    finally:
        host.close()
    print("acknowledged:", ledger.acknowledged)
    assert ledger.acknowledged, "no answer ever came before the kill"
