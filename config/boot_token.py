"""The boot token: a MAC over what was measured when the operator sealed the host. Pure.

    tlsrt-boot-token 2
    seal N
    key V                   from version 2 of master_key on: the token names the key that it was made with
    mac HEX
    older-state N           a state of the authority is accepted that is older than number N of it, once
    publisher NAME KEY      whose releases of a package are accepted, and `highest NAME VERSION`: publishers.py
    successor HEX           one line per statement of issuer_chain.py, the oldest first
    HEXDIGEST NAME          one line per measured thing, sorted by name

The MAC is HMAC-SHA256 under the boot key over `tlsrt/boot/v1\\0` and every line but its own, so the key proves the
token and the token names what changed. There is exactly one text for a token: what differs in a byte is refused. As
one file says which key belongs to it, replacing this file is what puts a new master_key in force.

Format 1 measured less: such a token is read, so that `seal` goes on with its numbers, and boots nothing.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NoReturn

from tlsrt.config.differences import summary
from tlsrt.config.issuer_chain import CHAIN_MAX, STATEMENT_BYTES, VERSION_MAX, Chain, parse_chain_untrusted
from tlsrt.config.publishers import NO_TRUST, Trust, parse_trust
from tlsrt.errors import ConfigError, PeerError

MAX_TOKEN_BYTES = 8 << 20  # 40,000 files with names of 150 bytes
MAX_SEAL = (1 << 53) - 1
HEAD_BYTES = 96  # enough for the lines that say which key a token belongs to
_FORMAT = 2
_HEADS = {number: f"tlsrt-boot-token {number}\n".encode() for number in (1, _FORMAT)}
_DOMAIN = b"tlsrt/boot/v1\0"
_SEAL = re.compile(rb"seal ([1-9][0-9]{0,15})")
_KEY = re.compile(rb"key ([1-9][0-9]{0,9})")
_MAC = re.compile(rb"mac ([0-9a-f]{64})")
_OLDER = re.compile(rb"older-state ([1-9][0-9]{0,15})")
_SUCCESSOR = re.compile(rb"successor ([0-9a-f]{%d})" % (2 * STATEMENT_BYTES))
_ENTRY = re.compile(rb"([0-9a-f]{64}) ([!-~][ -~]{0,65535})")


@dataclass(frozen=True, slots=True)
class BootToken:
    """What was sealed: seal number, MAC, each name with its SHA-256, version of master_key."""

    seal: int
    mac: bytes
    entries: Mapping[str, bytes]
    key_version: int = 1
    succession: Chain = ()  # up to the issuer key of this version
    format: int = _FORMAT
    older_state: int = 0  # the number that the audit log knew when an older state was accepted; 0: none is
    trust: Trust = NO_TRUST

    def encode(self) -> bytes:
        """Return the text of the token file."""
        return _HEADS[self.format] + _first_lines(self) + b"mac " + self.mac.hex().encode() + b"\n" + _other_lines(self)


def make_boot_token(
    mac_key: bytes, seal: int, entries: Mapping[str, bytes], key_version: int = 1, succession: Chain = (),
    older_state: int = 0, trust: Trust = NO_TRUST,
) -> BootToken:  # fmt: skip
    """Return the token for a measurement. Raises ConfigError past MAX_SEAL.

    `mac_key` is key_schedule.boot_mac_key of that version of master_key.
    """
    if not 1 <= seal <= MAX_SEAL:
        raise ConfigError(f"the seal number {seal} is out of range: restore the boot token from your backup")
    token = BootToken(seal, b"", dict(sorted(entries.items())), key_version, succession, _FORMAT, older_state, trust)
    return replace(token, mac=_mac(mac_key, token))


def key_version_of(head: bytes) -> int:
    """Return the version of master_key that a token belongs to; `head` is how its file begins.

    1 also for what is no token, which is refused when it is read whole.
    """
    lines = head.split(b"\n", 3)
    found = _KEY.fullmatch(lines[2]) if len(lines) > 3 and lines[0] + b"\n" in _HEADS.values() else None
    return int(found[1]) if found else 1


def parse_boot_token_untrusted(data: bytes) -> BootToken:
    """Return the token in `data`, whose MAC is not yet checked. Raises ConfigError for anything else."""
    if len(data) > MAX_TOKEN_BYTES:
        _refuse_damaged(f"it is larger than {MAX_TOKEN_BYTES} bytes")
    number = next((number for number, head in _HEADS.items() if data.startswith(head)), 0)
    if not number:
        _refuse_damaged(f"its first line is not `tlsrt-boot-token {_FORMAT}`")
    if not data.endswith(b"\n"):
        _refuse_damaged("its last line is cut off")
    lines = data[len(_HEADS[number]) : -1].split(b"\n")
    seal = _SEAL.fullmatch(lines[0])
    key = _KEY.fullmatch(lines[1]) if len(lines) > 1 else None
    after = 2 if key is not None else 1
    mac = _MAC.fullmatch(lines[after]) if len(lines) > after else None
    if seal is None or mac is None or int(seal[1]) > MAX_SEAL:
        _refuse_damaged("its seal number or MAC is not readable")
    version = int(key[1]) if key is not None else 1
    if key is not None and not 1 < version <= VERSION_MAX:
        _refuse_damaged("its key version is out of range")
    older = _OLDER.fullmatch(lines[after + 1]) if len(lines) > after + 1 else None
    begin = after + 1 + (older is not None)
    trust, taken = _trust(lines[begin:])
    begin += taken
    chain = _chain(lines[begin:], version)
    return BootToken(
        int(seal[1]), bytes.fromhex(mac[1].decode()), _entries(lines, begin + len(chain)), version, chain, number,
        int(older[1]) if older is not None else 0, trust,
    )  # fmt: skip


def check_boot_token(mac_key: bytes, token: BootToken, entries: Mapping[str, bytes], minimum_seal: int) -> None:
    """Refuse a token of another key, an older seal, or another measurement, in this order. Raises ConfigError."""
    if not hmac.compare_digest(token.mac, _mac(mac_key, token)):
        raise ConfigError(
            "the boot token was not made with this master_key, or was edited: put the right master_key or boot token "
            "back, or run `tlsrt-supervisor seal` if you replaced the key on purpose"
        )
    if token.seal < minimum_seal:
        raise ConfigError(
            f"the boot token is a roll-back: its seal is {token.seal}, and this host has already run seal "
            f"{minimum_seal}; put the newer boot token back, or run `tlsrt-supervisor seal`"
        )
    if token.format != _FORMAT:
        raise ConfigError(
            "the boot token is of an older tlsrt, which measured less: if you have updated tlsrt, run "
            "`tlsrt-supervisor seal`"
        )
    if differences := summary(token.entries, entries):
        raise ConfigError(
            f"this host is not what was sealed: {', '.join(differences)}; if you intended that, run "
            "`tlsrt-supervisor seal`, else find out who did it (`tlsrt-supervisor seal --diff` names every file)"
        )


def check_key_version(token: BootToken, minimum: int) -> None:
    """Refuse a token of a version of master_key that was replaced on this host. Raises ConfigError."""
    if token.key_version < minimum:
        raise ConfigError(
            f"the boot token is a roll-back: it belongs to master_key version {token.key_version}, and this host has "
            f"already run version {minimum}; put the newer boot token back, or run `tlsrt-supervisor seal`"
        )


def _mac(mac_key: bytes, token: BootToken) -> bytes:
    return hmac.digest(mac_key, _DOMAIN + _HEADS[token.format] + _first_lines(token) + _other_lines(token), "sha256")


def _first_lines(token: BootToken) -> bytes:
    key = f"key {token.key_version}\n" if token.key_version > 1 else ""
    return f"seal {token.seal}\n{key}".encode()


def _other_lines(token: BootToken) -> bytes:
    older = [f"older-state {token.older_state}\n"] if token.older_state else []
    successors = [f"successor {statement.encode().hex()}\n" for statement in token.succession]
    measured = [f"{digest.hex()} {name}\n" for name, digest in sorted(token.entries.items())]
    return "".join(older + token.trust.lines() + successors + measured).encode("ascii")


def _trust(lines: list[bytes]) -> tuple[Trust, int]:
    try:
        return parse_trust(lines)
    except ValueError:
        _refuse_damaged("its publishers are out of order")


def _chain(lines: list[bytes], version: int) -> Chain:
    """Return the statements at the start of these lines, which lead to this version."""
    found = b""
    for match in takewhile(bool, map(_SUCCESSOR.fullmatch, lines[:CHAIN_MAX])):
        found += bytes.fromhex(match[1].decode()) if match else b""
    try:
        chain = parse_chain_untrusted(found)
    except PeerError:
        _refuse_damaged("its successors of keys are no chain")
    if chain and chain[-1].new.version != version:
        _refuse_damaged("its successors of keys do not lead to its key")
    return chain


def _entries(lines: list[bytes], begin: int) -> dict[str, bytes]:
    entries: dict[str, bytes] = {}
    last = ""
    for number, line in enumerate(lines[begin:], start=begin + 2):
        match = _ENTRY.fullmatch(line)
        if match is None:
            _refuse_damaged(f"line {number} is not readable")
        name = match[2].decode("ascii")
        if name <= last:
            _refuse_damaged(f"line {number} is out of order")
        entries[name] = bytes.fromhex(match[1].decode())
        last = name
    return entries


def _refuse_damaged(why: str) -> NoReturn:
    raise ConfigError(f"the boot token is damaged, {why}: put it back from your backup or run `tlsrt-supervisor seal`")
