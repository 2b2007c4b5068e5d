"""One vector file in the making, and the values that were made once because making them is random."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from vectors.runner import FOLDER, Values, run

STORED = FOLDER / "stored.json"


class VectorFile:
    """Collects cases of one operation; each is run against the code as it is added, so a wrong one cannot be written.

    `input` of a case replaces fields of `given`.
    """

    def __init__(self, operation: str, about: str, **given: Any) -> None:
        self.operation = operation
        self._given = given
        self._about = about
        self._cases: dict[str, list[Values]] = {"must_pass": [], "must_fail": []}
        self._names: set[str] = set()

    def passes(self, name: str, why: str, expect: Values, **case: Any) -> None:
        self._add("must_pass", name, why, expect, case)

    def fails(self, name: str, why: str, reason: str, **case: Any) -> None:
        expect: Values = {"reason": reason}
        if "answer" in case:
            expect["answer"] = case.pop("answer")
        self._add("must_fail", name, why, expect, case)

    def _add(self, kind: str, name: str, why: str, expect: Values, case: Values) -> None:
        found = run(self.operation, {**self._given, **case})
        if found != expect or name in self._names:
            raise SystemExit(f"{self.operation} / {name}: the code says {found}, the case {expect}")
        self._names.add(name)
        self._cases[kind].append({"name": name, "why": why, "input": case, "expect": expect})

    def text(self) -> str:
        tree = {"about": self._about, "operation": self.operation, "given": self._given, **self._cases}
        return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


class Stored:
    """Values whose making is random (HPKE, ECDSA): kept with a digest of what they were made of."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = json.loads(STORED.read_text()) if STORED.exists() else {}
        self._used: dict[str, list[str]] = {}

    def value(self, name: str, make: Callable[[], bytes], *made_of: bytes) -> bytes:
        """Return the stored value; make it anew if what it was made of has changed."""
        digest = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in made_of)).hexdigest()
        known = self._values.get(name)
        if known is None or known[0] != digest:
            known = [digest, make().hex()]
        self._used[name] = known
        return bytes.fromhex(known[1])

    def text(self) -> str:
        return json.dumps(self._used, indent=1) + "\n"
