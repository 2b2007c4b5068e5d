"""Opens the log at the boot of an authority: finds its end, and begins a new file behind it.

Nothing that is there is changed: it is evidence. What a killed life left half written, or what was written by another
program, is told by the first record, and where the good part ends stands in the signed header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.channels.clock import Moment
from tlsrt.config import key_schedule
from tlsrt.config.audit import AuditConfig
from tlsrt.errors import ConfigError
from tlsrt.supervisor.audit.files import AuditFolder, number_of
from tlsrt.supervisor.audit.record import CUT, Detail, LogHeader, LogRecord, plain_detail
from tlsrt.supervisor.audit.recovery import Ending, ending_of
from tlsrt.supervisor.audit.retention import Retention
from tlsrt.supervisor.audit.signer import ChainLink, LogLife, Randomness, begin_file
from tlsrt.supervisor.audit.writer import Done, LogWriter, Work
from tlsrt.supervisor.process.secret_memory import wipe


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """What the log needs of master_key. `root` is wiped when the log is open."""

    root: bytes = field(repr=False)
    install: bytes
    boot: bytes  # boot id
    life: int  # of the authority, never the same again
    known: int = 0  # a sequence that was in the log once, as the authority's state remembers it
    keep_bytes: int = AuditConfig().keep_mb << 20  # of all files together; the oldest go


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """A log that is open, with its first record on the disk."""

    writer: LogWriter
    sequence: int  # of an entry that is on the disk
    warnings: tuple[str, ...]
    written: Done  # that record


def public_of(root: bytes) -> bytes:
    """Return the public root key."""
    return Ed25519PrivateKey.from_private_bytes(key_schedule.audit_seed(root)).public_key().public_bytes_raw()


def file_key_of(root: bytes) -> Callable[[LogHeader], bytes]:
    """Return what gives the key of any file, from the root of the log's keys."""

    def key(header: LogHeader) -> bytes:
        file_key = key_schedule.audit_file_key(root, header.life)
        for _ in range(header.file_in_life):
            file_key = key_schedule.audit_next_file_key(file_key)
        return file_key

    return key


def open_log(
    state: int, given: AuditKeys, kind: str, detail: Detail, moment: Moment, randomness: Randomness
) -> OpenedLog:
    """Begin a file in the authority's folder, with a record of this kind as its first.

    Raises ConfigError if it cannot be written.
    """
    try:
        folder = AuditFolder.within(state)
        ending = _last_ending(folder, given.root)
        if ending.link.sequence < given.known and not ending.problem:
            ending = replace(ending, problem=f"there was a sequence {given.known} once")
        signer = Ed25519PrivateKey.from_private_bytes(key_schedule.audit_seed(given.root))
        life = LogLife(given.install, given.life, given.boot, signer.public_key().public_bytes_raw())
        file_key = key_schedule.audit_file_key(given.root, given.life)
        sealer, header = begin_file(life, ending.link, file_key, signer, *moment, randomness)
        wipe(file_key)
        wipe(given.root)
        writer = LogWriter(folder, sealer, header, Retention(folder, given.keep_bytes))
    except OSError as error:
        raise ConfigError(f"cannot write the audit log: {error.strerror}: make room on its disk, or mend it") from None
    records = [LogRecord(*moment, kind, "authority", plain_detail(detail))]
    if ending.link.end == CUT or ending.problem:
        found: Detail = {"file": ending.link.file, "after": ending.link.sequence, "bytes_left": ending.left}
        records.append(LogRecord(*moment, "log_cut", "audit", plain_detail({**found, "problem": ending.problem})))
    done = writer.write(Work(records, *moment))
    if done.problem:
        raise ConfigError(done.problem)
    return OpenedLog(writer, sealer.sequence, _warnings(ending), done)


def _warnings(ending: Ending) -> tuple[str, ...]:
    if not ending.problem:
        return ()
    return (
        f"the audit log was changed in file {ending.link.file} after sequence {ending.link.sequence} "
        f"({ending.problem}): run `tlsrt-supervisor audit verify`; it goes on in another file",
    )


def _last_ending(folder: AuditFolder, root: bytes) -> Ending:
    """Return how the last file ended. Of one that does not even begin, how the one before it did."""
    names = folder.names()
    problem = ""
    for name in reversed(names):
        ending = ending_of(folder.read(name), _known(root))
        if ending is None:
            problem = f"{name} does not begin as a file of the log"
            continue
        if not problem:
            return ending
        link = ending.link  # the numbers go on behind the file that cannot be read
        return Ending(ChainLink(number_of(names[-1]), 0, link.sequence, link.chain, CUT), 0, problem)
    return Ending(ChainLink(number_of(names[-1]) if names else 0, end=CUT if names else "none"), 0, problem)


def _known(root: bytes) -> Callable[[LogHeader], bytes | None]:
    """Return the keys of files that this master_key wrote. Those of another one cannot be checked."""
    public, key = public_of(root), file_key_of(root)
    return lambda header: key(header) if header.root == public else None
