"""Folders of packages of a base interpreter: hidden, unless something that a process needs lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.package_folders import hidden_packages, outermost

PYENV = ("lib/python3.13/json", "lib/python3.13/site-packages/pip", "lib/pkgconfig")
DEBIAN = ("lib/python3/dist-packages/apt", "lib/python3.11/json", "lib/python3.11/dist-packages", "lib/gcc")


def made(base: Path, *folders: str) -> Path:
    for name in folders:
        (base / name).mkdir(parents=True)
    return base


@pytest.mark.parametrize(
    ("layout", "hidden"),
    [
        (PYENV, {"lib/python3.13/site-packages"}),
        (DEBIAN, {"lib/python3/dist-packages", "lib/python3.11/dist-packages"}),
    ],
)
def test_all_folders_of_packages_below_a_library_are_hidden(
    tmp_path: Path, layout: tuple[str, ...], hidden: set[str]
) -> None:
    base = made(tmp_path / "base", *layout)
    environment = made(tmp_path / "venv/lib/python3.13/site-packages", "zmq")
    shown = outermost([base / "lib", *(base / "lib").glob("python3.*"), environment, environment / "zmq"])
    assert {str(path.relative_to(base)) for path in hidden_packages(shown)} == hidden


def test_what_is_imported_from_is_not_hidden(tmp_path: Path) -> None:
    base = made(tmp_path, *DEBIAN)
    packages = base / "lib/python3/dist-packages"
    shown = outermost([base / "lib", packages])
    assert shown == [base / "lib", packages]
    assert hidden_packages(shown) == (base / "lib/python3.11/dist-packages",)
    assert packages not in hidden_packages(outermost([base / "lib", packages / "apt"]))


def test_what_a_component_reads_is_not_hidden(tmp_path: Path) -> None:
    base = made(tmp_path, *DEBIAN)
    assert hidden_packages([base / "lib"], [base / "lib/python3"]) == (base / "lib/python3.11/dist-packages",)
    assert hidden_packages([base / "lib"], [base]) == ()


def test_a_link_leads_to_what_is_hidden(tmp_path: Path) -> None:
    base = made(tmp_path, *PYENV)
    (base / "lib64").symlink_to("lib")
    assert hidden_packages([base / "lib64"]) == (base / "lib/python3.13/site-packages",)
