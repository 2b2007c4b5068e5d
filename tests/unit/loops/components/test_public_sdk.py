"""Components that come with tlsrt have no private doors: they import of it what any package may."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tlsrt
from tlsrt.config.defaults import COMPONENTS, LOOPS

# The events are the runtime's own: the gate's process alone is told them, and packs each once for all who listen.
EXCEPT = "primary"
FOLDERS = sorted({one.class_path.split(".")[2] for one in COMPONENTS} - {EXCEPT})
SHARED = ("indexing", "models", "sampling", "sip")
WORKERS = "models"  # run in workers, and import what a worker of any package does
# An order of secondary/updates is read by the verb that carries it out, as root: one description of it for both.
OF_VERBS = {"updates.py": "tlsrt.apt_plan"}
# Public too, and not in tlsrt itself: what needs an extra, or few. Their lists are read, and not imported.
PUBLIC = ("tlsrt.bus", "tlsrt.asking", "tlsrt.sources")


def names_of(module: str) -> list[str]:
    """Return what a public module exports."""
    tree = ast.parse((LOOPS.parent / f"{module.partition('.')[2]}.py").read_text())
    lists = [one for one in tree.body if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__"]
    found: list[str] = ast.literal_eval(lists[0].value)
    return found


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each import of tlsrt."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((one.name, "") for one in node.names if one.name.partition(".")[0] == "tlsrt")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: name the module in full"
            if (node.module or "").partition(".")[0] == "tlsrt":
                yield from ((str(node.module), one.name) for one in node.names)


def private(folder: str, file: Path) -> list[str]:
    own = tuple(f"tlsrt.loops.{one}." for one in (folder, *SHARED))
    return [
        f"{module} {name}"
        for module, name in imported(file)
        if not (module == "tlsrt" and name in tlsrt.__all__)
        and not (module in PUBLIC and name in names_of(module))
        and not f"{module}.".startswith(own)
        and module != OF_VERBS.get(file.name)
        and not (folder == WORKERS and module == "tlsrt.worker")
    ]


@pytest.mark.parametrize("folder", [*FOLDERS, *SHARED])
def test_a_folder_of_components_imports_what_tlsrt_exports_and_nothing_else(folder: str) -> None:
    files = sorted((LOOPS / folder).glob("*.py"))
    assert len(files) > 1
    assert {file.name: found for file in files if (found := private(folder, file))} == {}


def test_the_contract_names_the_same_folders() -> None:
    assert FOLDERS == ["external", "facts", "forth", "secondary", "third"]
    contract = (Path(__file__).parents[4] / "pyproject.toml").read_text().partition("only what it exports")[2]
    sources = contract.partition("forbidden_modules")[0]
    assert all(f'"tlsrt.loops.{folder}"' in sources for folder in (*FOLDERS, *SHARED))


def test_what_is_private_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import tlsrt.config\nfrom tlsrt import Component, config\nfrom tlsrt.loops.third.io import Name\n")
    assert private("facts", file) == ["tlsrt.config ", "tlsrt config", "tlsrt.loops.third.io Name"]
