"""The nonce trap misses no pair, whoever used it, and says so when it is too small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import trap
from chaos.trap import Blind, Trap, pairs, repetitions

SECRET = bytes(16)
KEY, OTHER = b"k" * 32, b"o" * 32

# A process that seals through cryptography as tlsrt does, and forks one that does the same.
SEALING = """
import os, sys
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
first, second, key = int(sys.argv[1]), int(sys.argv[2]), b"k" * 32
sealed = AESGCM(key).encrypt(first.to_bytes(12, "big"), b"body", None)
assert AESGCM(key).decrypt(first.to_bytes(12, "big"), sealed, None) == b"body"
suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
private = X25519PrivateKey.generate()
assert suite.decrypt(suite.encrypt(b"grant", private.public_key(), info=b"i"), private, info=b"i") == b"grant"
if os.fork() == 0:
    AESGCM(key).encrypt(second.to_bytes(12, "big"), b"body", None)
    os._exit(0)
os.wait()
"""


def sealing(path: Path, first: int, second: int) -> None:
    text = trap.prelude(path, SECRET) + SEALING
    subprocess.run([sys.executable, "-I", "-B", "-c", text, str(first), str(second)], check=True, timeout=60)


def test_a_pair_that_is_used_twice_is_found_and_equal_nonces_of_two_keys_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.trap"
    one = Trap(path, SECRET)
    for key, number in ((KEY, 1), (KEY, 2), (OTHER, 1)):
        one.note(one.key(key), number.to_bytes(12, "big"))
    assert repetitions([path]) == (3, [])
    Trap(path, SECRET).note(one.key(KEY), (2).to_bytes(12, "big"))
    count, again = repetitions([path])
    assert count == 4 and len(again) == 1


def test_what_a_process_and_its_fork_seal_with_is_written_down(tmp_path: Path) -> None:
    path = tmp_path / "a.trap"
    sealing(path, 1, 2)
    assert repetitions([path]) == (3, [])


def test_a_repetition_of_a_fork_is_found(tmp_path: Path) -> None:
    sealing(tmp_path / "a.trap", 7, 7)
    assert len(repetitions([tmp_path / "a.trap"])[1]) == 1


def test_a_repetition_in_a_later_life_is_found(tmp_path: Path) -> None:
    paths = [tmp_path / "a.trap", tmp_path / "b.trap"]
    sealing(paths[0], 1, 2)
    sealing(paths[1], 2, 3)
    assert repetitions(paths[:1])[1] == [] and len(repetitions(paths)[1]) == 1


def test_many_pairs_fill_one_region_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "a.trap"
    one = Trap(path, SECRET)
    for number in range(3000):
        one.note(KEY, number.to_bytes(12, "big"))
    assert repetitions([path]) == (3000, [])


def test_a_full_trap_is_blind_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.trap"
    one = Trap(path, SECRET)
    monkeypatch.setattr(trap, "REGIONS", 2)
    monkeypatch.setattr(trap, "_TRIES", 2)
    for number in range(trap.REGION // trap.PAIR):
        one.note(KEY, number.to_bytes(12, "big"))
    with pytest.raises(Blind, match="was full"):
        list(pairs(path))


def test_no_key_can_be_told_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.trap"
    one = Trap(path, SECRET)
    one.note(one.key(KEY), bytes(12))
    assert KEY not in path.read_bytes() and one.key(KEY) not in path.read_bytes()
    assert Trap(path, os.urandom(16)).key(KEY) != one.key(KEY)
