"""What callers hear of control groups that cannot be had."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tlsrt.errors import SandboxError
from tlsrt.supervisor.process import cgroups as module
from tlsrt.supervisor.process.cgroups import ControlGroups


def test_a_group_for_replies_that_cannot_be_made_is_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def add(limits: object) -> None:
        raise SandboxError("cgroup", "cannot make the group x: No space left on device")

    monkeypatch.setattr(module, "own_place", lambda: None)
    monkeypatch.setattr(module, "make_tree", lambda *_: SimpleNamespace(add=add))
    groups = ControlGroups(tmp_path, None)
    groups.claim({})
    with pytest.raises(OSError, match="cannot make the group x"):
        groups.answering()
