"""Text, tree, proofs and the ends of files; every byte string parses or is refused."""

from __future__ import annotations

import hashlib

import pytest
from fakes.audit_log import ROOT, TRUSTED, AuditLog, entries, file_key, public, record
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.config import key_schedule
from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.inclusion_proof import Proof, check_proof_untrusted, make_proof
from tlsrt.supervisor.audit.merkle import (
    Peaks,
    grown,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_by_proof,
    root_of,
    root_of_leaves,
)
from tlsrt.supervisor.audit.record import (
    BODY_MAX,
    CUT,
    FINAL,
    INTEGER_MAX,
    VALUE_MAX,
    LogRecord,
    encode_record,
    is_plain,
    parse_body_untrusted,
    plain_detail,
)
from tlsrt.supervisor.audit.recovery import ending_of
from tlsrt.supervisor.audit.verify import verify
from tlsrt.text import ascii_only

# Text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", "plain words"), ("a\nb\x1b[31m", r"a\x0ab\x1b[31m"), ("back\\slash", r"back\\slash"),
        ("\u202eevil", r"\u202eevil"), ("\U0001f600", r"\U0001f600"), ("é", r"\xe9"), ("x" * 40, "x" * 29 + "..."),
        ("\n" * 40, r"\x0a" * 7 + "..."), ("x" * 32, "x" * 32),
    ],
)  # fmt: skip
def test_what_people_say_cannot_reach_a_terminal(text: str, expected: str) -> None:
    assert ascii_only(text, 32) == expected


@given(st.text(max_size=400), st.integers(8, 300))
def test_every_text_becomes_plain(text: str, limit: int) -> None:
    assert is_plain(ascii_only(text, limit), limit)


@given(st.dictionaries(st.text(max_size=80), st.text(max_size=400) | st.integers(), max_size=40), st.text(max_size=400))
def test_every_record_fits_and_comes_back(detail: dict[str, str | int], said: str) -> None:
    written = LogRecord(1, 2, ascii_only(said, 48), ascii_only(said, 160), plain_detail(detail))
    body = encode_record(9, written)
    assert len(body) < BODY_MAX // 2
    assert parse_body_untrusted(body) == (9, b"", b"", b"", written)


def test_integers_that_fit_nowhere_are_capped() -> None:
    assert dict(plain_detail({"a": 1 << 80, "b": -(1 << 80)})) == {"a": INTEGER_MAX, "b": -INTEGER_MAX}
    assert len(str(dict(plain_detail({"a": "y" * 999}))["a"])) == VALUE_MAX


# Parser


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_body_or_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_body_untrusted(data)


@settings(max_examples=300)
@given(st.data())
def test_any_change_of_a_file_is_found_or_says_the_same(data: st.DataObject) -> None:
    log = AuditLog().life().add(4).checkpoint().add(3).stop()
    broken = bytearray(log.files[0])
    at = data.draw(st.integers(0, len(broken) - 1))
    broken[at] ^= data.draw(st.integers(1, 255))
    report = verify([("audit-00000001.log", bytes(broken))], TRUSTED, file_key=file_key, must_be_closed=True)
    assert report.fault is not None and report.fault.file == "audit-00000001.log"


@given(st.binary(max_size=400))
def test_any_bytes_are_a_file_or_a_fault(data: bytes) -> None:
    assert verify([("x", data)], TRUSTED).fault is not None
    assert ending_of(data) is None


def test_another_form_of_the_same_body_is_refused() -> None:
    body = encode_record(1, record(1))
    parse_body_untrusted(body)
    assert body[2] == 1
    with pytest.raises(PeerError, match="body"):
        parse_body_untrusted(body[:2] + b"\xcc\x01" + body[3:])  # the sequence as uint8 instead of fixint


# Tree


def naive(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive(leaves[:split]) + naive(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=4), max_size=70), st.data())
def test_the_tree_is_that_of_rfc_6962_and_its_proofs_hold(bodies: list[bytes], data: st.DataObject) -> None:
    peaks: Peaks = ()
    for body in bodies:
        peaks = grown(peaks, leaf_hash(body))
    leaves = list(map(leaf_hash, bodies))
    root = naive(bodies)
    assert root == root_of(peaks) == root_of_leaves(leaves)
    if not bodies:
        return
    index = data.draw(st.integers(0, len(bodies) - 1))
    path = inclusion_proof(leaves, index)
    assert root_by_proof(leaves[index], index, len(leaves), path) == root
    assert root_by_proof(node_hash(root, root), index, len(leaves), path) != root
    assert root_by_proof(leaves[index], len(leaves), len(leaves), path) is None
    assert root_by_proof(leaves[index], index, len(leaves), [*path, root]) is None
    if path:
        assert root_by_proof(leaves[index], index, len(leaves), path[:-1]) is None
        assert root_by_proof(leaves[index], index, len(leaves), [root, *path[1:]]) != root


def test_the_known_answers_of_certificate_transparency() -> None:
    """From the test vectors of the reference implementation of RFC 6962."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(value)) for value in inputs]
    assert root_of_leaves(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert inclusion_proof(leaves, 5)[0].hex() == "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"


# Proofs


def test_a_record_is_proved_over_a_rotation_with_the_public_key_alone() -> None:
    log = AuditLog().life().add(300).rotate().add(20).checkpoint().add(2)
    files = [bytes(data) for data in log.files]
    for sequence in (2, 150, 299, 305, 320):
        proof = make_proof(files, sequence)
        assert check_proof_untrusted(proof, TRUSTED) == (sequence, record(sequence))
        with pytest.raises(PeerError, match="signature"):
            check_proof_untrusted(proof, [public(key_schedule.audit_root(bytes(32)))])
        with pytest.raises(PeerError, match="path"):
            check_proof_untrusted(
                Proof(proof.steps, encode_record(sequence, record(7)), proof.index, proof.path), TRUSTED
            )
        with pytest.raises(PeerError, match="no_checkpoint"):
            check_proof_untrusted(Proof(proof.steps[:1], proof.body, proof.index, proof.path), TRUSTED)
    for sequence, word in ((log.sealer.sequence, "not_signed_yet"), (1, "not_a_record"), (9999, "not_here")):
        with pytest.raises(PeerError, match=word):
            make_proof(files, sequence)


# Ends of files


def test_a_torn_tail_is_cut_where_the_last_whole_entry_ends() -> None:
    log = AuditLog().life().add(5)
    data = bytes(log.files[0])
    whole = entries(data)
    for cut in range(whole[-2].end + 1, len(data)):
        ending = ending_of(data[:cut], file_key)
        assert ending is not None and ending.problem == ""
        assert (ending.link.size, ending.link.sequence, ending.link.end) == (whole[-2].end, 5, CUT)
        assert ending.left == cut - whole[-2].end
        log.sealer.sequence = 5
        following = AuditLog()
        following.files, following.lives = [bytearray(data[:cut])], 1
        following.life(ending.link).add(1)
        report = verify(following.named(), TRUSTED, file_key=file_key)
        assert report.fault is None and report.last == 7


def test_the_end_of_a_clean_stop_is_known() -> None:
    ending = ending_of(bytes(AuditLog().life().add(2).stop().files[0]), file_key)
    assert ending is not None and ending.link.end == FINAL and not ending.left


def test_an_entry_that_somebody_wrote_behind_the_end_is_not_taken_for_ours() -> None:
    log = AuditLog().life().add(2)
    good = bytes(log.files[0])
    log.sealer.mac_key = bytes(32)
    log.add(1)
    ending = ending_of(bytes(log.files[0]), file_key)
    assert ending is not None and ending.link.size == len(good) and "not written by this host" in ending.problem
    assert ending_of(bytes(log.files[0]), lambda header: key_schedule.audit_file_key(ROOT, 9)) is not None
