"""What differs between two measurements: versions before files, and every file on request."""

from __future__ import annotations

import pytest

from tlsrt.config.differences import listed, summary
from tlsrt.config.distributions import is_older

SEALED = {
    "version/tlsrt/0.1.0/tlsrt": b"m1", "tlsrt/a.py": b"1", "tlsrt/b.py": b"1", "version/numpy/2.1/dep/numpy": b"m",
    "dep/numpy/a.py": b"1", "version/numpy/2.1/dep/numpy.libs": b"m", "dep/numpy.libs/x.so": b"1", "config": b"1",
    "python/os.py": b"1", "python@2/dyn.so": b"1", "version/python/3.13.5/python": b"", "bytecode": b"1",
}  # fmt: skip


def changed(**names: bytes | None) -> dict[str, bytes]:
    merged = {**SEALED, **{name: digest for name, digest in names.items() if digest is not None}}
    return {name: digest for name, digest in merged.items() if names.get(name, b"") is not None}


def upgraded(version: str) -> dict[str, bytes]:
    return changed(**{
        "version/tlsrt/0.1.0/tlsrt": None, f"version/tlsrt/{version}/tlsrt": b"m2", "tlsrt/a.py": b"2",
        "tlsrt/b.py": None, "tlsrt/c.py": b"1",
    })  # fmt: skip


def test_nothing_differs() -> None:
    assert summary(SEALED, SEALED) == listed(SEALED, SEALED) == []


def test_another_version_is_one_phrase() -> None:
    assert summary(SEALED, {**upgraded("0.1.1"), "config": b"2"}) == ["tlsrt 0.1.0 -> 0.1.1: 3 files", "changed config"]
    assert summary(SEALED, upgraded("0.0.12")) == ["tlsrt 0.1.0 -> 0.0.12, which is older: 3 files"]


def test_every_file_is_listed_on_request() -> None:
    assert listed(SEALED, upgraded("0.1.1")) == [
        "tlsrt 0.1.0 -> 0.1.1: 3 files", "changed tlsrt/a.py", "new tlsrt/c.py", "missing tlsrt/b.py",
    ]  # fmt: skip


def test_a_distribution_that_comes_or_goes() -> None:
    without = {name: digest for name, digest in SEALED.items() if "numpy" not in name}
    assert summary(SEALED, without) == ["missing numpy 2.1: 2 files"]
    assert summary(without, SEALED) == ["new numpy 2.1: 2 files"]


def test_python_itself_is_one_of_them() -> None:
    found = changed(**{
        "version/python/3.13.5/python": None, "version/python/3.13.6/python": b"", "python/os.py": b"2",
        "python@2/dyn.so": b"2",
    })  # fmt: skip
    assert summary(SEALED, found) == ["python 3.13.5 -> 3.13.6: 2 files"]


def test_files_of_the_same_version_are_named() -> None:
    assert summary(SEALED, changed(**{"tlsrt/a.py": b"2", "dep/numpy/a.py": None})) == [
        "changed tlsrt/a.py", "missing dep/numpy/a.py",
    ]  # fmt: skip


def test_missing_byte_code_is_no_difference_and_other_byte_code_is() -> None:
    assert summary(SEALED, changed(bytecode=None)) == []
    assert summary(SEALED, changed(bytecode=b"2")) == ["changed bytecode"]


@pytest.mark.parametrize(
    ("new", "old"),
    [("0.1", "0.1.1"), ("0.9", "0.10"), ("1.0rc1", "1.0"), ("1.0.dev1", "1.0.0"), ("1.0", "1.0.post1"), ("1", "1!0.1")],
)
def test_the_order_of_versions(new: str, old: str) -> None:
    assert is_older(new, old) and not is_older(old, new)


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.0.0"), ("1.0+local", "1.0")])
def test_equal_versions(one: str, other: str) -> None:
    assert not is_older(one, other) and not is_older(other, one)
