"""The Merkle tree of RFC 6962, section 2.1, over the bodies of a file's entries. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32
_LEAF = b"\x00"
_NODE = b"\x01"
EMPTY = hashlib.sha256(b"").digest()

Peaks = tuple[tuple[int, bytes], ...]  # (size, root) of complete subtrees, the largest first


def leaf_hash(body: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(_LEAF + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(_NODE + left + right).digest()


def grown(peaks: Peaks, leaf: bytes) -> Peaks:
    """Return the peaks of a tree with one leaf more."""
    size, root = 1, leaf
    kept = len(peaks)
    while kept and peaks[kept - 1][0] == size:
        kept -= 1
        size, root = size * 2, node_hash(peaks[kept][1], root)
    return (*peaks[:kept], (size, root))


def root_of(peaks: Peaks) -> bytes:
    """Return the root over all leaves."""
    if not peaks:
        return EMPTY
    root = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def root_of_leaves(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, as the RFC defines it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY
    half = _split(len(leaves))
    return node_hash(root_of_leaves(leaves[:half]), root_of_leaves(leaves[half:]))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of one leaf (section 2.1.1), from the leaf up."""
    if len(leaves) < 2:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*inclusion_proof(leaves[:half], index), root_of_leaves(leaves[half:])]
    return [*inclusion_proof(leaves[half:], index - half), root_of_leaves(leaves[:half])]


def root_by_proof(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that a proof leads to, None if it has not the length that this place in the tree demands."""
    if not 0 <= index < size:
        return None
    root, last, at = leaf, size - 1, index
    for sibling in proof:
        if last == 0:
            return None
        if at % 2 == 1 or at == last:
            root = node_hash(sibling, root)
            while at % 2 == 0 and at:  # this leaf's subtree ends the tree: levels without a sibling are passed over
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        at, last = at >> 1, last >> 1
    return root if last == 0 else None


def _split(size: int) -> int:
    """Return the largest power of two below the size."""
    return 1 << ((size - 1).bit_length() - 1)
