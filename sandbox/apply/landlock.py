"""Landlock, landlock(7): rules for files and TCP ports that can only be made stricter.

Everything that the host's version (ABI) of Landlock can forbid is forbidden, and then allowed below some paths. Before
ABI 8 rules concern the calling task only, so they go up while there is one task; tasks that are started later have them
too. What Landlock does not know, whatever its version here, other layers must stop: UDP, stat, chmod, and, before ABI
9, connecting to path-named UNIX sockets.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tlsrt.errors import SandboxError
from tlsrt.sandbox.syscalls import call

LAYER = "landlock"
OLDEST_ABI = 1
NEWEST_ABI = 9  # the newest whose rights we can name; a newer kernel is used like this one

# linux/landlock.h, LANDLOCK_ACCESS_FS_*
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV, RESOLVE_UNIX = (1 << bit for bit in range(13, 17))
_RIGHTS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 8: 16, 9: 17}
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX  # the rest needs a folder
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPES = 3  # abstract UNIX sockets, signals
_NETWORK_ABI, _SCOPES_ABI, _TSYNC_ABI = 4, 6, 8
_CREATE_VERSION, _RESTRICT_TSYNC = 1, 1 << 3
_RULE_PATH, _RULE_PORT = 1, 2

READ = READ_FILE | READ_DIR  # enough for code too: importing and loading a library only reads
LIST = READ_DIR  # an import looks for a package by listing the folder it lies in
DEVICE = READ_FILE | WRITE_FILE  # /dev/null
REOPEN = READ_FILE | WRITE_FILE | IOCTL_DEV  # what another process has looked up
# No sockets, FIFOs, links or devices, and nothing to execute.
STATE = READ | WRITE_FILE | TRUNCATE | REMOVE_FILE | REMOVE_DIR | MAKE_DIR | MAKE_REG | REFER
CHANNEL = RESOLVE_UNIX


@dataclass(frozen=True, slots=True)
class Rules:
    """Rights below paths (of one path, the union counts), and TCP ports. None means that ports are not restricted."""

    paths: tuple[tuple[str, int], ...]
    bind_ports: frozenset[int] | None = frozenset()
    connect_ports: frozenset[int] | None = frozenset()

    def digest(self, abi: int) -> bytes:
        """Return the SHA-256 (32 bytes) of what this ABI enforces of it, in canonical msgpack."""
        import msgpack

        ports = [
            None if one is None or abi < _NETWORK_ABI else sorted(one) for one in (self.bind_ports, self.connect_ports)
        ]
        paths = sorted([os.fsencode(path), rights & handled_rights(abi)] for path, rights in self.paths)
        form = ["tlsrt/landlock/v1", handled_rights(abi), paths, ports, _SCOPES if abi >= _SCOPES_ABI else 0]
        return hashlib.sha256(msgpack.packb(form, use_bin_type=True)).digest()


def handled_rights(abi: int) -> int:
    """Return every right over files that this ABI knows."""
    return (1 << _RIGHTS_BITS[min(max(abi, OLDEST_ABI), NEWEST_ABI)]) - 1


def landlock_abi() -> int:
    """Return the host's ABI version. Raises SandboxError when the host has no Landlock."""
    try:
        return min(call("landlock_create_ruleset", 0, 0, _CREATE_VERSION), NEWEST_ABI)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            reason = "this kernel has no Landlock (Linux 5.13), or something outside hides it"
        elif error.errno == errno.EOPNOTSUPP:
            reason = "Landlock is switched off on this host: add landlock to the kernel's lsm= list"
        else:
            reason = f"this host refuses Landlock: {os.strerror(error.errno or 0)}"
        raise SandboxError(LAYER, reason) from error


def apply_rules(rules: Rules, held: Mapping[str, int] | None = None) -> bytes:
    """Restrict this task, and on ABI 8 all tasks, to the rules for good; return their digest.

    `held` are paths that were opened before, as they are not in sight any more. A path that is not there gets no rule.
    Raises SandboxError when the host cannot, or a rule is refused.
    """
    abi = landlock_abi()
    digest = rules.digest(abi)  # before: it may have to import
    try:
        ruleset = _create(rules, abi)
        try:
            for path, rights in _merged(rules.paths):
                if held is not None and path in held:
                    _allow_below(ruleset, held[path], rights & handled_rights(abi))
                else:
                    _allow_path(ruleset, path, rights & handled_rights(abi))
            if abi >= _NETWORK_ABI:
                _allow_ports(ruleset, rules.bind_ports, _BIND_TCP)
                _allow_ports(ruleset, rules.connect_ports, _CONNECT_TCP)
            call("landlock_restrict_self", ruleset, _RESTRICT_TSYNC if abi >= _TSYNC_ABI else 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise SandboxError(LAYER, f"cannot restrict: {error.strerror or error}") from error
    return digest


def _create(rules: Rules, abi: int) -> int:
    network = (0 if rules.bind_ports is None else _BIND_TCP) | (0 if rules.connect_ports is None else _CONNECT_TCP)
    attributes = [handled_rights(abi)]
    if abi >= _NETWORK_ABI:
        attributes.append(network)
    if abi >= _SCOPES_ABI:
        attributes.append(_SCOPES)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    return call("landlock_create_ruleset", packed, len(packed), 0)


def _merged(paths: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    merged: dict[str, int] = {}
    for path, rights in paths:
        merged[path] = merged.get(path, 0) | rights
    return sorted(merged.items())


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        _allow_below(ruleset, descriptor, rights)
    finally:
        os.close(descriptor)


def _allow_below(ruleset: int, descriptor: int, rights: int) -> None:
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= _FILE_RIGHTS
    if rights:
        call("landlock_add_rule", ruleset, _RULE_PATH, struct.pack("=Qi", rights, descriptor), 0)


def _allow_ports(ruleset: int, ports: frozenset[int] | None, right: int) -> None:
    for port in sorted(ports or ()):
        call("landlock_add_rule", ruleset, _RULE_PORT, struct.pack("=QQ", right, port), 0)
