"""After `rotate --master` the log verifies with the key of before and of after, before and after the next life."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.audit_log import INSTALL, AuditLog, Files, public

from tlsrt.config import key_schedule
from tlsrt.config.audit_roots import ROOTS, STATEMENTS_MAX, parse_roots_untrusted, state_roots, with_statement
from tlsrt.supervisor.audit import reader
from tlsrt.supervisor.audit.verify import verify

PRKS = [key_schedule.extract(INSTALL, bytes([number]) * 32) for number in range(4)]
KEYS = [key_schedule.audit_root(prk) for prk in PRKS]
STATED = [state_roots(INSTALL, PRKS[at], PRKS[at + 1]) for at in range(2)]


def fault(files: Files, key: int, stated: bytes = b"".join(STATED)) -> str:
    return str(verify(files, [public(KEYS[key])], roots=parse_roots_untrusted(stated)).fault or "")


def test_a_running_host_and_a_stopped_one_verify_with_either_key() -> None:
    log = AuditLog().life(root=KEYS[0]).add(3).checkpoint()
    assert fault(log.named(), 0) == fault(log.named(), 1) == fault(log.named(), 2) == ""
    assert "no earlier key vouches for" in fault(log.named(), 1, b""), "without the statement it looks like a forgery"
    log.rotate().add(2)
    assert fault(log.named(), 0) == fault(log.named(), 1) == ""
    log.stop().life(root=KEYS[1]).add(2).stop()  # the authority was killed before a head named the new key
    assert fault(log.named(), 0) == fault(log.named(), 1) == fault(log.named(), 2) == ""
    log.life(root=KEYS[2]).add(1)
    assert [fault(log.named(), key) for key in range(3)] == ["", "", ""]
    assert "no earlier key vouches for" in fault(log.named(), 3)


def test_an_older_key_signs_nothing_after_the_newer_one_has_begun() -> None:
    """Who steals a key that was replaced cannot go on with the log for a verifier who has the newer one."""
    log = AuditLog().life(root=KEYS[0]).add(1).stop().life(root=KEYS[1]).add(1).stop().life(root=KEYS[0]).add(1)
    assert "no earlier key vouches for" in fault(log.named(), 1) and "no earlier key vouches for" in fault(
        log.named(), 2
    )


@pytest.mark.parametrize("at", [0, 40, 70, 140])
def test_a_statement_that_was_changed_or_is_of_another_host_counts_for_nothing(at: int) -> None:
    log = AuditLog().life(root=KEYS[0]).add(3).checkpoint()
    changed = bytearray(STATED[0])
    changed[at] ^= 1
    assert "no earlier key vouches for" in fault(log.named(), 1, bytes(changed))
    assert "no earlier key vouches for" in fault(log.named(), 1, state_roots(bytes(16), PRKS[0], PRKS[1]))
    assert "no earlier key vouches for" in fault(log.named(), 1, STATED[0][:-1])


def test_the_file_is_bounded_and_kept_beside_the_log(tmp_path: Path) -> None:
    data = b""
    for _ in range(STATEMENTS_MAX + 3):
        data = with_statement(data, STATED[0])
    assert len(parse_roots_untrusted(data)) == len(parse_roots_untrusted(data + data)) == STATEMENTS_MAX
    config = SimpleNamespace(state_dir=tmp_path)
    reader.keep_roots(config, STATED[0])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [], "a host that has never run has no log"
    folder = tmp_path / "authority" / "audit"
    folder.mkdir(parents=True)
    for statement in STATED:
        reader.keep_roots(config, statement)  # type: ignore[arg-type]
    assert [path.name for path in folder.iterdir()] == [ROOTS]
    assert [each.is_good(INSTALL) for each in reader.roots_in(folder)] == [True, True]
