"""`component list` and `show` say of components that come with tlsrt what they say of added ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt import __version__
from tlsrt.config.defaults import COMPONENTS
from tlsrt.config.init import initialise
from tlsrt.supervisor.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    initialise(tmp_path / "var", host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    return tmp_path / "var" / "tlsrt.yaml"


def test_show_tells_what_one_asks_for_and_who_may_call_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["component", "show", "external/network", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("external/network: interfaces, routes and sockets of the host\n")
    assert f"from tlsrt {__version__}, class tlsrt.loops.external.network:Network, in the process external" in shown
    assert "!  network       yes" in shown and "   proc          yes" in shown
    assert f"yours to change: {config}" in shown
    assert main.main(["component", "show", "third/io", "--config", str(config), "--json"]) == 0
    [ask] = json.loads(capsys.readouterr().out)["asks"]
    assert ask == {"kind": "disk_threads", "what": "1", "why": "", "dangerous": False}


def test_list_names_the_package_of_each(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["component", "list", "--config", str(config), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["components"]
    assert [one["component"] for one in rows] == [one.address for one in COMPONENTS]
    assert {one["package"] for one in rows} == {f"tlsrt {__version__}"}


def test_what_comes_with_tlsrt_is_neither_updated_nor_removed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["update", "third/io", "--yes"], ["remove", "third/io"], ["diff", "third/io"]):
        assert main.main(["component", *words, "--config", str(config)]) != 0
        assert "third/io was not added by `component add`" in capsys.readouterr().err
