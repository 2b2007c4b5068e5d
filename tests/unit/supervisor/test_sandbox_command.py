"""`sandbox show` and its siblings: what they print, without a running supervisor and without root."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tlsrt.config.init import initialise
from tlsrt.errors import EX_USAGE
from tlsrt.supervisor import cli


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("made") / "var"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    return str(folder / "tlsrt.yaml")


def test_an_unknown_process_gets_a_hint(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for process in ("third", "authority"):
        assert cli.main(["sandbox", "show", process, "--config", file]) == 0
        assert capsys.readouterr().out.startswith(process)
    assert cli.main(["sandbox", "show", "thrid", "--config", file]) == EX_USAGE
    assert capsys.readouterr().err == "tlsrt-supervisor: there is no loop thrid, did you mean third?\n"
