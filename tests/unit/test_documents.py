"""The documents are true: links lead somewhere, commands parse, examples are valid, lines are short."""

from __future__ import annotations

import ast
import re
import textwrap
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.documents import LINK, ROOT, anchors, blocks, commands, documents, prose, written
from tools.reference.invariants import invariants

from tlsrt.channels.cli.verbs import COMMAND as CLIENT
from tlsrt.command_line.parse import parse
from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.config.manifest import parse_manifest
from tlsrt.supervisor.cli.verbs import COMMAND as SUPERVISOR

pytestmark = pytest.mark.once

LANGUAGES = {"", "sh", "console", "python", "yaml", "ini", "mermaid", "text"}
# Where a table row may be long, or a paragraph: a protocol field by field, a change by change, measurements.
DENSE = {"PROTOCOL.md", "findings.md", "CHANGELOG.md", "README.md", "MEASURED.md", "audit-log-format.md", "files.md"}
EXAMPLES = {
    "CHANGELOG.md",  # names of modules of their day
    "tests/README.md",  # how tests are named
    "tests/findings.md",  # names of tests, which test_findings checks
}

PRIVATE = (
    "whoever",
    "somebody",
    "nobody",
    "herald",
    "trustee",
    "farewell",
    "condemned",
    "buried",
    "shut out",
    "roster",
)
ROOMS = ("config", "channels", "sandbox", "loops", "supervisor", "tlsrt", "examples")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_invariant_names_tests_that_exist() -> None:
    found = list(invariants())
    assert len(found) > 180
    assert not [promise for promise, times in Counter(one.promise for one in found).items() if times > 1]
    for one in found:
        for test in one.tests:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text() if (ROOT / file).exists() else ""
            assert re.search(rf"^ *(async )?def {name}\(", text, re.M), (
                f"{test} does not exist: name the test that holds {one.promise!r} in tests/invariants.yaml"
            )


def test_no_module_and_no_profile_says_a_private_word() -> None:
    """But for `nobody`, the user, and the word of XMPP for contacts."""
    found = []
    for room in ROOMS:
        for path in sorted(path for path in (ROOT / room).rglob("*") if path.suffix in {".py", ".yaml"}):
            if path.is_symlink() or "supervisor/process/uids.py" in str(path):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if re.search(rf"\b({'|'.join(PRIVATE)})\b", line.replace("jabber:iq:roster", ""), re.I):
                    found.append(f"{name_of(path)}:{number} {line.strip()}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for line in prose(path):
        for link in LINK.findall(re.sub(r"`[^`]*`", "", line.text)):
            if re.match(r"https?:", link):
                continue
            target, _, anchor = link.partition("#")
            found = (path.parent / target).resolve() if target else path
            where = f"{name_of(path)}:{line.number} links to {link}"
            assert found.exists(), where
            assert not anchor or anchor in anchors(found), where


def test_every_page_is_reachable_from_the_readme() -> None:
    seen: set[Path] = set()
    rest = [ROOT / "README.md"]
    while rest:
        path = rest.pop()
        if path in seen:
            continue
        seen.add(path)
        links = [link for line in prose(path) for link in LINK.findall(line.text)]
        targets = [(path.parent / link.partition("#")[0]).resolve() for link in links if not re.match("https?:", link)]
        rest += [target for target in targets if target.suffix == ".md" and target.exists()]
    assert set((ROOT / "docs").rglob("*.md")) <= seen


def test_the_readme_begins_with_the_two_commands_and_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    first = re.search(r"```sh\n(.*?)```", text, re.S)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].strip().splitlines()] == ["make start", "make test"]
    assert len(text.splitlines()) <= 150


@pytest.mark.parametrize("path", written(), ids=name_of)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"`make ([a-z][a-z-]*)", path.read_text())
    for block in blocks(path, "sh", "console"):
        named += re.findall(r"^(?:\$ )?make ([a-z][a-z-]*)", block.text, re.M)
    assert set(named) <= targets, f"{name_of(path)} names make {set(named) - targets}"


@pytest.mark.parametrize("path", written(), ids=name_of)
def test_lines_and_paragraphs_are_short(path: Path) -> None:
    run = 0
    for line in prose(path):
        where, is_row = f"{name_of(path)}:{line.number}", line.text.startswith("|")
        is_code = line.text.startswith("    ")
        assert is_row or is_code or len(line.text) <= 120, f"{where}: more than 120 columns"
        if path.name in DENSE:
            continue
        assert len(line.text) <= 160, f"{where}: a row of more than 160 columns"
        is_item = re.match(r"\s*(?:[-*]|\d+\.) ", line.text) is not None
        run = 0 if not line.text.strip() or is_row else 1 if is_item else run + 1
        assert run <= 6, f"{where}: a paragraph of more than 6 lines"
    for block in blocks(path, *LANGUAGES - {""}):
        for offset, text in enumerate(block.text.splitlines(), 1):
            assert len(text) <= 120, f"{name_of(path)}:{block.line + offset}: more than 120 columns"


@pytest.mark.parametrize("path", [path for path in written() if name_of(path) not in EXAMPLES], ids=name_of)
def test_modules_are_named_on_generated_pages_only(path: Path) -> None:
    named = re.findall(r"\b(?:config|channels|sandbox|loops|supervisor)/[\w/]+\.py\b", path.read_text())
    assert not named, f"{name_of(path)} names {named[0]}, which will go stale"


@pytest.mark.parametrize("path", written(), ids=name_of)
def test_words_are_those_of_the_field(path: Path) -> None:
    text = "\n".join(re.sub(r"`[^`]*`", "", line.text) for line in prose(path))
    found = re.findall(rf"\b(?:{'|'.join(PRIVATE)})\b", text, re.I)
    assert not found, f"{name_of(path)} says {found[0]}: the glossary has a word for it"


@cache
def tree_words() -> set[str]:
    """Return each word of the code, of its data and of the vectors' names."""
    folders = ("config", "channels", "sandbox", "loops", "supervisor", "tests/vectors", "examples")
    found = (
        path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml", ".json")
    )
    return {word for path in found for word in re.findall(r"\w+", path.read_text())}


@pytest.mark.parametrize("path", [path for path in written() if path.name != "CHANGELOG.md"], ids=name_of)
def test_names_of_the_code_exist(path: Path) -> None:
    for name in set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", path.read_text())):
        assert name in tree_words(), f"{name_of(path)} names {name}, which is nowhere in the code"


@pytest.mark.parametrize("path", written(), ids=name_of)
def test_blocks_are_in_a_known_language(path: Path) -> None:
    known = blocks(path, *LANGUAGES)
    assert path.read_text().count("```") == 2 * len(known), f"one of {', '.join(sorted(LANGUAGES))}"


@pytest.mark.parametrize("path", written(), ids=name_of)
def test_commands_parse(path: Path) -> None:
    """Also those that no test runs: of a transcript, or with a name of the reader's own."""
    for number, words in commands(path):
        try:
            parse(CLIENT if words[0] == "tlsrt" else SUPERVISOR, words[1:])
        except SystemExit as end:
            if end.code != 0:
                pytest.fail(f"{name_of(path)}:{number}: {' '.join(words)}")


@pytest.mark.parametrize("path", written(), ids=name_of)
def test_python_is_python(path: Path) -> None:
    for block in blocks(path, "python"):
        source = textwrap.dedent(block.text)
        compile(source, f"{path.name}:{block.line}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents") / "host"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime(2026, 1, 2, tzinfo=UTC))
    return folder


def merged(tree: Any, addition: Any) -> Any:
    if not isinstance(tree, dict) or not isinstance(addition, dict):
        return addition
    return {**tree, **{key: merged(tree.get(key), value) for key, value in addition.items()}}


@pytest.mark.parametrize("path", [path for path in written() if blocks(path, "yaml")], ids=name_of)
def test_yaml_is_a_configuration(path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what `init` writes, and with a policy line's component where an example leaves it out; or a manifest."""
    monkeypatch.setenv("TLSRT_DOOR_PORT", "7443")  # of the examples
    for number, block in enumerate(blocks(path, "yaml")):
        if block.text.startswith("manifest:"):
            parse_manifest(block.text.encode(), path)
            continue
        tree = merged(yaml.safe_load((installed / "tlsrt.yaml").read_text()), yaml.safe_load(block.text))
        for line in tree["policy"]:
            for side in line.split(" -> "):
                if not side.startswith("client/") and side in block.text:
                    tree.setdefault("components", {}).setdefault(side, {"class": "example:Example"})
        file = installed / f"{path.stem}-{number}.yaml"
        file.write_text(yaml.safe_dump(tree))
        load_config(file)


def test_the_glossary_has_the_words() -> None:
    entries = [line.text for line in prose(ROOT / "docs" / "glossary.md") if line.text.startswith("- ")]
    words = [found[1] for found in (re.match(r"- \*\*([\w -]+)\*\*: \S", entry) for entry in entries) if found]
    assert len(words) == len(entries) >= 40 and len(set(words)) == len(words)
