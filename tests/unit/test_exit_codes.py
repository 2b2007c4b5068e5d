"""One table of exit codes for both commands: complete, on its page word by word, and in both helps."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from tlsrt import errors
from tlsrt.channels.cli import main as command
from tlsrt.errors import EXIT_CODES, TlsrtError
from tlsrt.supervisor.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("config", "sandbox", "channels", "supervisor", "tlsrt")


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if not path.is_symlink()]


def kinds_of(kind: type[TlsrtError]) -> set[type[TlsrtError]]:
    return {kind}.union(*map(kinds_of, kind.__subclasses__()))


def test_every_error_ends_with_a_code_of_the_table() -> None:
    for module in ("process.instance_lock", "control.client"):  # where the supervisor has errors of its own
        import_module(f"tlsrt.supervisor.{module}")
    used = {kind.exit_code for kind in kinds_of(TlsrtError)}
    assert used < set(EXIT_CODES)
    named = {value for name, value in vars(errors).items() if name.startswith("EX_")}
    assert named == set(EXIT_CODES) - {0}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_is_made_up_elsewhere(path: Path) -> None:
    """A class or constant of another file names its exit code by a name of the table."""
    text = path.read_text()
    if path.name == "errors.py" or not ("exit_code" in text or "EX_" in text):
        return  # no such name is in it
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            is_code = isinstance(target, ast.Name) and (target.id == "exit_code" or target.id.startswith("EX_"))
            assert not (is_code and isinstance(node.value, ast.Constant)), f"{path}:{node.lineno}"


def test_the_reference_has_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (ROOT / "docs" / "reference" / "exit-codes.md").read_text(), re.M)
    assert {int(code): text for code, text in rows} == EXIT_CODES


@pytest.mark.parametrize("main", [command.main, cli.main])
def test_both_helps_have_the_table(main: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(main)
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for code, text in EXIT_CODES.items():
        assert f"  {code:>3}  {text}" in shown
