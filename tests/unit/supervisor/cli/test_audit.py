"""`tlsrt-supervisor audit` on folders: what it prints, its exit codes, and one sentence for what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes.audit_log import AuditLog, entries, public, signer
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import EX_CONFIG, EX_FAILED, EX_USAGE, PeerError
from tlsrt.supervisor.audit.reader import parse_proof_untrusted
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.control.audit_heads import line_of

Audit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = AuditLog().life().add(300).checkpoint().add(2).life().add(3).stop()
    for name, data in log.named():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "key").write_text(public().hex() + "\n")
    return tmp_path


@pytest.fixture
def audit(folder: Path, capsys: pytest.CaptureFixture[str]) -> Audit:
    def run(verb: str, *words: str) -> tuple[int, str, str]:
        code = main(["audit", verb, "--folder", str(folder), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_verify_says_that_a_log_is_whole(audit: Audit, folder: Path) -> None:
    code, out, err = audit("verify", "--key", str(folder / "key"), "--closed")
    assert (code, err) == (0, "") and "2 whole files, sequence 1 to 310, 305 records" in out
    assert out.endswith("whole, and ended by FINAL\n")
    pem = signer().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key").write_bytes(pem)
    code, out, _ = audit("verify", "--key", str(folder / "key"), "--json")
    assert code == 0 and json.loads(out)["is_whole"] is True


def test_verify_names_the_first_bad_record_and_fails(audit: Audit, folder: Path) -> None:
    path = folder / "audit-00000001.log"
    data = bytearray(path.read_bytes())
    data[entries(bytes(data))[41].start + 10] ^= 1
    path.write_bytes(data)
    code, out, err = audit("verify", "--key", str(folder / "key"))
    assert code == EX_FAILED and "audit-00000001.log, sequence 42: " in err
    assert "whole, and" not in out
    code, out, _ = audit("verify", "--key", str(folder / "key"), "--json")
    assert code == EX_FAILED and json.loads(out)["fault"]["sequence"] == 42


def test_anchors_say_what_was_cut_off(audit: Audit, folder: Path) -> None:
    point = next(entry for entry in entries((folder / "audit-00000002.log").read_bytes()) if entry.leaves)
    (folder / "anchors").write_text("Nov 27 host " + line_of(2, point.value.size, 310, point.value.root))  # type: ignore[union-attr]
    words = ("verify", "--key", str(folder / "key"), "--anchors", str(folder / "anchors"))
    assert audit(*words)[0] == 0
    path = folder / "audit-00000002.log"
    path.write_bytes(path.read_bytes()[: point.start])
    code, _, err = audit(*words)
    assert code == EX_FAILED and "an anchor says that file 2" in err


def test_tail_show_and_export(audit: Audit) -> None:
    _, out, _ = audit("tail", "-n", "2")
    assert [line.split()[2] for line in out.splitlines()] == ["308", "309"]
    _, out, _ = audit("tail", "-n", "4", "--json")
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == [305, 307, 308, 309]
    _, out, _ = audit("show", "309")
    assert "third/309" in out and "audit-00000002.log" in out
    assert audit("show", "999")[0] == EX_USAGE
    _, out, _ = audit("export")
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == list(range(1, 311))


def test_a_proof_is_handed_on_and_checked(audit: Audit, folder: Path) -> None:
    _, out, _ = audit("export", "--proof", "70")
    (folder / "proof").write_text(out)
    words = ("verify", "--key", str(folder / "key"), "--proof", str(folder / "proof"))
    code, said, _ = audit(*words)
    assert code == 0 and said.startswith("proved: ") and "third/70" in said
    (folder / "proof").write_text(out.replace('"index": 69', '"index": 68'))
    code, _, err = audit(*words)
    assert code == EX_FAILED and "invalid proof (path)" in err
    code, _, err = audit("export", "--proof", "304")
    assert code == EX_USAGE and "no checkpoint has signed this record yet" in err


def test_what_cannot_be_read_is_one_sentence(audit: Audit, folder: Path) -> None:
    (folder / "key").write_text("nonsense")
    code, _, err = audit("verify", "--key", str(folder / "key"))
    assert code == EX_CONFIG and "is no public key of an audit log" in err and err.count("\n") == 1
    code, _, err = audit("verify", "--key", str(folder / "none"))
    assert code == EX_CONFIG and "No such file" in err and err.count("\n") == 1
    (folder / "audit-00000002.log").write_bytes(b"\0\0\0\3abc" + bytes(64))
    code, _, err = audit("tail")
    assert code == EX_CONFIG and "does not read at byte 0" in err


@given(
    st.text(max_size=60)
    | st.dictionaries(st.sampled_from(["tlsrt_audit_proof", "steps", "body"]), st.integers()).map(json.dumps)
)
def test_any_text_is_a_proof_or_is_refused(text: str) -> None:
    with pytest.raises(PeerError):
        parse_proof_untrusted(text)


def test_what_retention_removed_is_told_and_what_somebody_removed_is_named(audit: Audit, folder: Path) -> None:
    log = AuditLog().life().add(3).rotate().add(2).rotate().add(1).announce(1).checkpoint()
    (folder / "audit.heads").write_bytes(log.heads(1))
    for name, data in log.named():
        (folder / name).write_bytes(data)
    (folder / "audit-00000001.log").unlink()
    words = ("verify", "--key", str(folder / "key"))
    code, out, _ = audit(*words)
    assert (
        code == 0 and "1 files before these are not here, with sequence 1 to 5\n3 records removed by retention" in out
    )
    _, out, _ = audit("export", "--proof", "7")
    (folder / "proof").write_text(out)
    assert audit(*words, "--proof", str(folder / "proof"))[1].startswith("proved: ")
    (folder / "audit-00000002.log").unlink()
    code, _, err = audit(*words)
    assert code == EX_FAILED and "audit-00000002.log: it is not here, and no signed record says" in err
    (folder / "audit.heads").write_bytes(log.heads(2))
    assert audit(*words, "--moved-away")[0] == 0
