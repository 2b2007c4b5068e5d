"""Where the commands look when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.config import search_path
from tlsrt.config.search_path import find_bundle, find_config
from tlsrt.errors import ConfigError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("TLSRT_BUNDLE", raising=False)
    monkeypatch.delenv("TLSRT_CONFIG", raising=False)
    monkeypatch.setattr(search_path, "CONFIG_PLACES", (search_path.CONFIG_PLACES[0], tmp_path / "etc/tlsrt/tlsrt.yaml"))
    return tmp_path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_system_place_is_the_documented_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (Path("var/tlsrt.yaml"), Path("/etc/tlsrt/tlsrt.yaml")) == search_path.CONFIG_PLACES


def test_config_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(None)
    assert caught.value.problems == (
        f"there is no configuration at ./var/tlsrt.yaml or {nowhere}/etc/tlsrt/tlsrt.yaml: "
        "run `tlsrt-supervisor init var` to make one, or name it with --config FILE",
    )
    system = touch(nowhere / "etc/tlsrt/tlsrt.yaml")
    assert find_config(None) == system
    touch(nowhere / "var/tlsrt.yaml")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_config(None) == Path("var/tlsrt.yaml")
    monkeypatch.setenv("TLSRT_CONFIG", "/named.yaml")
    assert find_config(None) == Path("/named.yaml")
    assert find_config("x.yaml") == Path("x.yaml")


def test_root_takes_no_configuration_from_the_folder_it_stands_in(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(nowhere / "var/tlsrt.yaml")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigError) as caught:
        find_config(None)
    assert caught.value.problems == (
        "root takes no configuration from the folder it stands in, and there is none at "
        f"{nowhere}/etc/tlsrt/tlsrt.yaml: if you trust it, name it with --config var/tlsrt.yaml",
    )
    system = touch(nowhere / "etc/tlsrt/tlsrt.yaml")
    assert find_config(None) == system
    assert find_config("var/tlsrt.yaml") == Path("var/tlsrt.yaml")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_root_takes_a_bundle_there_only_if_no_other_user_could_have_put_it(nowhere: Path) -> None:
    here = touch(nowhere / "var/admin.tlsrt")
    mine = touch(nowhere / "home/.config/tlsrt/admin.tlsrt")
    assert find_bundle(None) == Path("var/admin.tlsrt")
    os.chown(here.parent, 1000, 1000)
    assert find_bundle(None) == mine


def test_bundle_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        find_bundle(None)
    assert caught.value.problems == (
        f"there is no client bundle: $TLSRT_BUNDLE is not set and nothing is at ./var/admin.tlsrt or "
        f"{nowhere}/home/.config/tlsrt/client.tlsrt or {nowhere}/home/.config/tlsrt/admin.tlsrt; "
        "name one with --bundle FILE",
    )
    assert find_bundle(str(nowhere / "x")) == nowhere / "x"
    mine = touch(nowhere / "home/.config/tlsrt/admin.tlsrt")
    assert find_bundle(None) == mine
    enrolled = touch(nowhere / "home/.config/tlsrt/client.tlsrt")
    assert find_bundle(None) == enrolled
    enrolled.unlink()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(nowhere / "xdg"))
    other = touch(nowhere / "xdg/tlsrt/admin.tlsrt")
    assert find_bundle(None) == other
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # the specification says: ignore it
    assert find_bundle(None) == mine
    touch(nowhere / "var/admin.tlsrt")
    assert find_bundle(None) == Path("var/admin.tlsrt")
    monkeypatch.setenv("TLSRT_BUNDLE", "/b")
    assert find_bundle(None) == Path("/b")
    assert find_bundle("c") == Path("c")
