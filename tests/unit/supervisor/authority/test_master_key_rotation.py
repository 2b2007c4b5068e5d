"""Another master_key is checked as at a boot, and only the one that was checked last is held."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgpack
import pytest
from hosts.authority_host import INSTALL, MASTER, MEASURED, NONCE, make_config

from tlsrt.config import key_schedule
from tlsrt.config.boot_token import BootToken, make_boot_token
from tlsrt.config.issuer_chain import Chain, PinnedIssuer, state_successor
from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority.keys.issuer import Issuer
from tlsrt.supervisor.authority.keys.key_ring import EpochKeySet, KeyRing
from tlsrt.supervisor.authority.master_key_rotation import MasterKeyRotation
from tlsrt.supervisor.authority.model.state import AuthorityState

NEXT = bytes(range(50, 82))
PRK = key_schedule.extract(INSTALL, MASTER)
NEXT_PRK = key_schedule.extract(INSTALL, NEXT)


def issuer(prk: bytes, version: int) -> Issuer:
    return Issuer(
        key_schedule.issuer_seed(prk, version),
        version,
        INSTALL,
        key_schedule.boot_id(NONCE),
        random.Random(3).randbytes,
    )


def chain(signer: Issuer | None = None, new: PinnedIssuer | None = None) -> Chain:
    signer = signer or issuer(PRK, 1)
    return (state_successor(INSTALL, 1, new or PinnedIssuer(2, issuer(NEXT_PRK, 2).public), signer.sign),)


def token(seal: int = 4, version: int = 2, succession: Chain | None = None) -> BootToken:
    succession = chain() if succession is None else succession
    return make_boot_token(key_schedule.boot_mac_key(NEXT_PRK), seal, MEASURED, version, succession)


class Bench:
    """A host of version 1 that runs."""

    def __init__(self, folder: Path, measure: str = "strict") -> None:
        self.state = AuthorityState(epoch=5, boots=1, seal=3, key_version=1)
        self.ring = KeyRing(EpochKeySet(key_schedule.run_key(PRK, NONCE), issuer(PRK, 1), bytes(32)))
        config = make_config(folder, measure=measure)
        self.rekeying = MasterKeyRotation(config, NONCE, self.ring, self.state, random.Random(4).randbytes)

    def check(
        self, number: int = 1, *, master: bytes = NEXT, boot_token: BootToken | bytes | None = None,
        measured: dict[str, bytes] = MEASURED, overlap_ms: int = 0,
    ) -> tuple[str, ...]:  # fmt: skip
        text = boot_token if isinstance(boot_token, bytes) else (boot_token or token()).encode()
        descriptors = [file_of(data) for data in (master, text, msgpack.packb(measured))]
        try:
            return self.rekeying.check(number, descriptors, overlap_ms=overlap_ms)
        finally:
            for descriptor in descriptors:
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(descriptor)

    def refused(self, **given: object) -> str:
        with pytest.raises(ConfigError) as caught:
            self.check(**given)  # type: ignore[arg-type]
        assert self.rekeying.take(1) is None
        return str(caught.value)


def file_of(data: bytes) -> int:
    descriptor = os.memfd_create("test")
    os.write(descriptor, data)
    return descriptor


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_good_key_is_held_until_it_is_taken_once(bench: Bench) -> None:
    bench.check(7)
    assert bench.ring.newest.issuer.key_version == 1
    assert bench.state.key_version == 1, "nothing else has changed"
    new = bench.rekeying.take(7)
    assert new is not None
    assert new.keys.run == key_schedule.run_key(NEXT_PRK, NONCE)
    assert (new.keys.issuer.key_version, new.keys.issuer.public) == (2, issuer(NEXT_PRK, 2).public)
    assert (new.mac_key, new.seal, new.succession) == (key_schedule.boot_mac_key(NEXT_PRK), 4, chain())
    assert bench.rekeying.take(7) is None


def test_only_the_last_one_that_was_checked_is_held(bench: Bench) -> None:
    bench.check(1)
    bench.check(2)
    assert bench.rekeying.take(1) is None
    assert bench.rekeying.take(2) is None, "whoever asks for another has given this one up"
    bench.check(3)
    bench.refused(master=bytes(32))
    assert bench.rekeying.take(3) is None


@pytest.mark.parametrize(
    ("master", "sentence"),
    [
        (bytes(32), "master_key is one byte repeated"),
        (NEXT[:31], "fewer than 32"),
        (MASTER, "was not made with this master_key"),
        (os.urandom(32), "was not made with this master_key"),
    ],
    ids=["constant", "short", "the old one", "another one"],
)
def test_a_key_that_is_none(bench: Bench, master: bytes, sentence: str) -> None:
    assert sentence in bench.refused(master=master)


def test_a_token_that_does_not_follow(bench: Bench) -> None:
    assert "the new boot token belongs to master_key version 3, which does not follow version 1" in bench.refused(
        boot_token=make_boot_token(key_schedule.boot_mac_key(NEXT_PRK), 4, MEASURED, 3)
    )
    assert "which does not follow version 1" in bench.refused(
        boot_token=make_boot_token(key_schedule.boot_mac_key(NEXT_PRK), 4, MEASURED, 1)
    )
    assert "its seal is 2, and this host has already run seal 3" in bench.refused(boot_token=token(seal=2))
    assert "is damaged" in bench.refused(boot_token=b"no token")


def test_a_new_key_that_the_old_one_does_not_name(bench: Bench) -> None:
    for succession in (
        (),
        chain(issuer(NEXT_PRK, 2)),
        chain(new=PinnedIssuer(2, bytes(32))),
        chain(issuer(key_schedule.extract(bytes(16), MASTER), 1)),
    ):
        assert "has no statement by the present issuer key" in bench.refused(boot_token=token(succession=succession))


def test_a_host_that_is_not_what_was_sealed(tmp_path: Path, bench: Bench) -> None:
    changed = {**MEASURED, "tlsrt/new.py": bytes(32)}
    assert "this host is not what was sealed: new tlsrt/new.py" in bench.refused(measured=changed)
    lenient = tmp_path / "lenient"
    lenient.mkdir()
    assert "new tlsrt/new.py" in Bench(lenient, measure="warn").check(measured=changed)[0]


def test_one_older_version_at_most(bench: Bench) -> None:
    assert bench.refused(overlap_ms=58_001).startswith("master_key version 0 still verifies for 59 s, and at most one")


def test_the_key_in_force_is_no_other_one(bench: Bench) -> None:
    same = (state_successor(INSTALL, 1, PinnedIssuer(2, issuer(PRK, 2).public), issuer(PRK, 1).sign),)
    text = make_boot_token(key_schedule.boot_mac_key(PRK), 4, MEASURED, 2, same)
    assert "the new master_key is the one in force" in bench.refused(master=MASTER, boot_token=text)
