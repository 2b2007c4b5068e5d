"""What is made from profile files stays with the files that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsrt.sandbox.profile import cache


@pytest.fixture(autouse=True)
def own_shelf() -> Iterator[None]:
    with cache.using(cache.ProfileCache()):
        yield


def test_made_once_per_shelf_and_kept_on_each() -> None:
    source = ["old"]

    @cache.cache
    def made(name: str, *, loud: bool = False) -> str:
        made_for.append(name)
        return f"{source[0]} {name}{'!' if loud else ''}"

    made_for: list[str] = []
    assert [made("a"), made("a"), made("a", loud=True)] == ["old a", "old a", "old a!"]
    assert made_for == ["a", "a"]
    source[0] = "new"
    other = cache.ProfileCache()
    with cache.using(other):
        assert made("a") == "new a"
    assert made("a") == "old a", "a reload that is not in force changes nothing"
    cache.use(other)
    assert made("a") == "new a" and made_for == ["a"] * 3
    made.cache_clear()
    assert made("a") == "new a" and made_for == ["a"] * 4


def test_an_error_is_not_kept_and_leaves_the_old_shelf_in_force() -> None:
    before = cache.current()

    @cache.cache
    def made() -> None:
        raise ValueError("a wrong file")

    with pytest.raises(ValueError, match="a wrong file"), cache.using(cache.ProfileCache()):
        made()
    assert cache.current() is before and not before.made


def test_the_fingerprint_is_that_of_names_and_bytes(tmp_path: Path) -> None:
    seen = {cache.fingerprint(tmp_path)}
    (tmp_path / "a.yaml").write_text("x")
    seen.add(cache.fingerprint(tmp_path))
    (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
    seen.add(cache.fingerprint(tmp_path))
    (tmp_path / "b.yaml").write_text("y")
    seen.add(cache.fingerprint(tmp_path))
    assert len(seen) == 4
    (tmp_path / "notes.txt").write_text("no profile")
    assert cache.fingerprint(tmp_path) in seen
