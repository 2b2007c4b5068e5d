"""The functions of a worker, as its module marks them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tlsrt.channels.frames.worker_frames import METHODS_MAX
from tlsrt.errors import MisuseError
from tlsrt.worker import worker
from tlsrt.worker.main import functions_of


def size(data: bytes) -> int:
    return len(data)


def module_with(count: int, monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("many_functions")
    for number in range(count):
        setattr(module, f"size{number}", worker(size))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_as_many_as_a_hello_may_name_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(functions_of(module_with(METHODS_MAX, monkeypatch))) == METHODS_MAX


def test_more_are_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MisuseError, match="many_functions marks 257 functions with @worker, and 256 are possible"):
        functions_of(module_with(METHODS_MAX + 1, monkeypatch))


def test_none_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MisuseError, match="no function that is marked"):
        functions_of(module_with(0, monkeypatch))
