"""The nonce trap: every (key, nonce) pair that any process of a run seals with, kept to look for repetitions.

    install(path, secret)          # first thing in a process, before tlsrt is imported: its forked children inherit it
    repetitions(paths)             # afterwards: pairs that were used twice, by whomever, in whatever life

A nonce that is used twice under one AES-GCM key gives away what it should protect, so no restart, epoch, crash or
second copy may ever lead to one. All sealing of tlsrt goes through the classes `AESGCM` and `hpke.Suite` of the
package cryptography; here they are wrapped. A pair is written as a keyed hash before it is used, into a file that is
mapped shared: a mapping outlives fork, a new root, the closing of all descriptors and the seal of the sandbox, writing
to it takes no system call, and what was written stays when the process is killed. Each process takes regions of the
file for itself. HPKE makes a new key for each message; its public half, which leads the message, stands for it.

A trap that is full would be blind, which is said (`Blind`) and never passed over. This file is also run as text in the
supervisor of a host, so it imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAIR = 16  # bytes of one record; all zero: the end of a region
REGION = 16 << 10
REGIONS = 6144
SIZE = REGION * REGIONS  # 96 MiB of address space, below what every loop may have; on the disk only what is used
_TAG = 16  # at the head of a region: whose it is
_TRIES = 4096
FULL = b"\xff" * PAIR  # at the head of the first region: somebody found no room


class Blind(Exception):
    """The trap was too small, so that it says nothing."""


class Trap:
    """One process's end of the file."""

    def __init__(self, path: str | Path, secret: bytes) -> None:
        self._secret = secret
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, SIZE)
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self._at = self._end = 0
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._at = self._end = 0

    def key(self, key: bytes) -> bytes:
        """Return what stands for a key: nobody can tell the key from it."""
        return hashlib.blake2b(key, key=self._secret, digest_size=16).digest()

    def note(self, key: bytes, nonce: bytes) -> None:
        """Write down that `nonce` is used with the key that `key` stands for."""
        if self._at == self._end and not self._claim():
            self._map[:PAIR] = FULL
            return
        pair = hashlib.blake2b(key + nonce, digest_size=PAIR).digest()
        self._map[self._at : self._at + PAIR] = pair
        self._at += PAIR

    def _claim(self) -> bool:
        """Take an empty region. Two processes meet in one only if they draw the same number in the same moment."""
        for _ in range(_TRIES):
            start = REGION * (1 + int.from_bytes(os.urandom(4), "big") % (REGIONS - 1))
            if self._map[start : start + _TAG] == bytes(_TAG):
                tag = os.urandom(_TAG)
                self._map[start : start + _TAG] = tag
                if self._map[start : start + _TAG] == tag:
                    self._at, self._end = start + _TAG, start + REGION
                    return True
        return False


def install(path: str | Path, secret: bytes) -> Trap:
    """Wrap the sealing classes of cryptography in this process; call it before anything else imports them."""
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.ciphers import aead

    trap = Trap(path, secret)
    real_aead, real_suite = aead.AESGCM, hpke.Suite

    class TrappedAESGCM:
        """AESGCM that writes down what it seals with."""

        generate_key = staticmethod(real_aead.generate_key)

        def __init__(self, key: bytes) -> None:
            self._real = real_aead(key)
            self._key = trap.key(bytes(key))
            self.decrypt = self._real.decrypt

        def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
            trap.note(self._key, bytes(nonce))
            return self._real.encrypt(nonce, data, associated_data)

    class TrappedSuite:
        """An HPKE suite that writes down the public key of each message."""

        def __init__(self, *arguments: Any) -> None:
            self._real = real_suite(*arguments)
            self.decrypt = self._real.decrypt

        def encrypt(self, *arguments: Any, **named: Any) -> bytes:
            sealed = self._real.encrypt(*arguments, **named)
            trap.note(trap.key(bytes(sealed[:32])), b"")
            return sealed

    aead.AESGCM = TrappedAESGCM  # type: ignore[assignment]
    hpke.Suite = TrappedSuite  # type: ignore[assignment]
    return trap


def prelude(path: Path, secret: bytes) -> str:
    """Return Python text that installs the trap in the process that runs it."""
    text = f"{Path(__file__).read_text()}\ninstall({str(path)!r}, {secret!r})\n"
    return f"exec(compile({text!r}, 'trap', 'exec'), {{'__name__': 'trap'}})\n"


def pairs(path: Path) -> Iterable[bytes]:
    """Yield the pairs in a file; raise Blind if it was full."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ) as data:
        if data[:PAIR] == FULL:
            raise Blind(f"the nonce trap {path} was full")
        for start in range(REGION, SIZE, REGION):
            if data[start : start + _TAG] == bytes(_TAG):
                continue
            for at in range(start + _TAG, start + REGION, PAIR):
                pair = data[at : at + PAIR]
                if pair == bytes(PAIR):
                    break
                yield pair


def repetitions(paths: Iterable[Path]) -> tuple[int, list[str]]:
    """Return how many pairs were used, over all files together, and those that were used again, as hex."""
    seen: set[bytes] = set()
    again: list[str] = []
    count = 0
    for path in paths:
        for pair in pairs(path):
            count += 1
            if pair in seen:
                again.append(pair.hex())
            seen.add(pair)
    return count, again
