"""Vectors of the audit log: files, and the first entry that is wrong in them."""

from __future__ import annotations

from fakes.audit_log import AuditLog, Files, entries, public, raw
from vectors.writer import VectorFile

ONE, TWO = "audit-00000001.log", "audit-00000002.log"


def _told(files: Files) -> list[list[str]]:
    return [[name, data.hex()] for name, data in files]


def audits() -> VectorFile:
    """A life that was killed behind its checkpoint, and one that ended with FINAL."""
    good = AuditLog().life().add(3).checkpoint().add(1).life().add(1).stop().named()
    file = VectorFile(
        "audit", "Files as `verify` takes them with the root key `public` alone; a reason is a file and a sequence.",
        files=_told(good), public=public().hex(),
    )  # fmt: skip
    whole = {"files": 2, "entries": 9, "records": 5, "checkpoints": 2, "first": 1, "last": 9, "gone_records": 0}
    file.passes("whole", "two lives", whole)
    file.passes("closed", "the last file ends with FINAL", whole, must_be_closed=True)
    file.passes(
        "moved away", "the first file is elsewhere: not a fault", {**whole, "files": 1, "entries": 3, "records": 1,
        "checkpoints": 1, "first": 7}, files=_told(good[1:]), may_begin_late=True,
    )  # fmt: skip
    log = AuditLog().life().add(2).rotate().add(1).rotate().add(1).announce(1).checkpoint()
    files, heads = log.named()[1:], log.heads(1)
    pruned = {"files": 2, "entries": 7, "records": 3, "checkpoints": 2, "first": 5, "last": 11, "gone_records": 2}
    file.passes("pruned", "retention has removed the first file, and kept its header", pruned, files=_told(files),
                heads=heads.hex())  # fmt: skip
    file.fails("removed", "by somebody else than retention", f"{ONE} 0", files=_told(good[1:]))
    file.fails("one more removed", "than retention has", f"{TWO} 0", files=_told(files[1:]), heads=log.heads(2).hex())
    file.fails("no headers", "that lead to the key of the first that is left", f"{TWO} 5", files=_told(files))
    first, second = good[0][1], good[1][1]
    one, two = entries(first), entries(second)
    flipped = bytearray(first)
    flipped[one[2].start + 6] ^= 1

    def bad(name: str, why: str, reason: str, *data: bytes, closed: bool = False) -> None:
        named = list(zip((ONE, TWO), data, strict=False))
        file.fails(name, why, reason, files=_told(named), must_be_closed=closed)

    bad("flipped", "a bit of the third entry", f"{ONE} 3", bytes(flipped), second)
    bad("deleted", "the second entry", f"{ONE} 2", first[: one[1].start] + first[one[1].end :], second)
    bad("inserted", "the second entry once more", f"{ONE} 3", first[: one[1].end] + first[one[1].start :], second)
    swapped = first[: one[1].start] + raw(first, one[2]) + raw(first, one[1]) + first[one[2].end :]
    bad("reordered", "second and third entry", f"{ONE} 2", swapped, second)
    bad("truncated", "behind the checkpoint; the next header says that there was more", f"{ONE} 6",
        first[: one[4].end], second)  # fmt: skip
    bad("no FINAL", "of the last file", f"{TWO} 9", first, second[: two[-1].start], closed=True)
    bad("behind FINAL", "one byte more", f"{TWO} 10", first, second + b"\0")
    bad("swapped", "the two files", f"{ONE} 7", second, first)
    bad("twice", "the first file under both names", f"{TWO} 1", first, first)
    bad("empty", "the second file", f"{TWO} 0", first, b"")
    file.fails("another key", "this root key signed nothing here", f"{ONE} 1", public=bytes(32).hex())
    return file
