"""`config show`: each value and where it comes from; `config migrate`: an older version as the newest one."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any, NamedTuple

from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.config import files
from tlsrt.config.document import MIGRATE, VERSION, ConfigFiles, document_of, read_config, read_files
from tlsrt.config.drop_ins import drop_in_files
from tlsrt.config.files import owner_of
from tlsrt.config.load import parse_files
from tlsrt.config.migration import migrated, version_of
from tlsrt.config.schema import FILE
from tlsrt.config.setting import Where, keys_of
from tlsrt.config.trusted_path import check_trusted, host_uids, trusted_uids
from tlsrt.config.validation import Checker
from tlsrt.config.yaml_nodes import YamlNode
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.cli.approval import is_approved
from tlsrt.supervisor.cli.approval import show as print_blocks
from tlsrt.supervisor.cli.exchange import config_path
from tlsrt.text import did_you_mean, printable

FORMAT = 1  # of the documents
_SHOWN = 60  # characters of a value in the table


class Leaf(NamedTuple):
    """One value of the configuration; without a file it is a default."""

    key: str
    value: object
    file: str = ""
    line: int = 0
    column: int = 0
    said: str = ""  # what the file says, where the value has variables in it


def show(arguments: argparse.Namespace) -> Document:
    """Return every value that the files say, or those below a key, and with --all the defaults."""
    path = config_path(arguments)
    check_trusted(path, "the configuration", host_uids(path))
    read = read_files(path)
    config = parse_files(read, path)
    found = list(leaves(read, path))
    if arguments.all:
        said = [one.key for one in found]
        found += [
            one
            for one in _defaults(config)
            if not any(name == one.key or name.startswith(f"{one.key}.") for name in said)
        ]
    if (wanted := arguments.key) is not None:
        known = [one.key for one in found]
        found = [one for one in found if one.key == wanted or one.key.startswith(f"{wanted}.")]
        if not found:
            raise InvalidArgument(f"no file says {printable(wanted, 80)}{did_you_mean(wanted, known)}: see also --all")
    return {
        "format": FORMAT, "configuration": str(path), "version": config.version,
        "files": [path.name, *(f"{path.name}.d/{name}" for name in read.more)],
        "values": [one._asdict() for one in found], "remarks": list(config.remarks),
    }  # fmt: skip


def show_lines(answer: Document) -> list[str]:
    folder = Path(answer["configuration"]).parent
    rows = [("KEY", "VALUE", "FROM"), *(_row(one, folder) for one in answer["values"])]
    return [*fitted_table(rows, cut="VALUE"), *(f"warning: {sentence}" for sentence in answer["remarks"])]


def leaves(read: ConfigFiles, path: Path) -> Iterator[Leaf]:
    """Yield each value of files that can be read, with its place."""
    document = document_of(read, path)
    assert document.root is not None
    tree = Checker(document.problems).check(document.root, FILE)
    for where, node in _nodes(document.root, ()):
        value = _at(tree, where, node)
        place = (document.problems.file(node.line), document.problems.line(node.line), node.column)
        yield Leaf(".".join(where), value, *place, node.said)


def _nodes(node: YamlNode, where: Where) -> Iterator[tuple[Where, YamlNode]]:
    if not node.pairs:
        yield where, node
    for key, value in node.pairs or ():
        yield from _nodes(value, (*where, key.text))


def _at(tree: object, where: Where, node: YamlNode) -> object:
    """Return the value of a node: what the check made of it, or its text where one word stands for a table."""
    for name in where:
        if not isinstance(tree, Mapping) or name not in tree:
            return node.text
        tree = tree[name]
    return node.text if isinstance(tree, Mapping) and node.kind == "scalar" and node.tag != "null" else tree


def _defaults(table: Any, prefix: str = "") -> Iterator[Leaf]:
    for name, key in keys_of(type(table)).items():
        full, value = f"{prefix}{name}", getattr(table, key.field)
        if key.setting.kind == "table" and value is not None:
            yield from _defaults(value, f"{full}.")
        elif key.setting.kind not in ("table", "map", "list") and value is not None and key.default is not None:
            yield Leaf(full, str(value) if isinstance(value, Path) else value)


def _row(one: Mapping[str, Any], folder: Path) -> tuple[str, str, str]:
    value = one["value"] if isinstance(one["value"], str) else json.dumps(one["value"], default=str)
    if not one["file"]:
        return one["key"], printable(value, _SHOWN), "default"
    file = os.path.relpath(one["file"], folder)
    said = f" ({printable(one['said'], _SHOWN)})" if one["said"] else ""
    return one["key"], printable(value, _SHOWN), f"{file}:{one['line']}:{one['column']}{said}"


# migrate


def migrate(arguments: argparse.Namespace) -> Document | int:
    """Show the difference, take a yes, and write the file in one step."""
    named = config_path(arguments)
    check_trusted(named, "the configuration", trusted_uids())
    path = Path(os.path.realpath(named))
    data = read_config(path)
    version = version_of(data, path)
    answer: dict[str, Any] = {"format": FORMAT, "configuration": str(path), "from": version, "to": VERSION}
    if version == VERSION:
        return {**answer, "changed": False, "dry_run": arguments.dry_run}
    # What is wrong is corrected first, in its own version. Components lie beside the name, not beside the file.
    parse_files(ConfigFiles(data, components=drop_in_files(named)), named)
    new = migrated(data, path)
    blocks = [difference(path.name, data, new)]
    if arguments.dry_run:
        print_blocks(blocks, arguments)
        return {**answer, "changed": True, "dry_run": True}
    if not is_approved(blocks, arguments, "Write it?"):
        return 1
    if read_config(path) != data:
        raise ConfigError(f"{path} was changed meanwhile, so nothing was written: run `{MIGRATE}` again")
    files.replace(path, new, os.stat(path).st_mode & 0o777, owner_of(path))
    return {**answer, "changed": True, "dry_run": False}


def migrate_lines(answer: Document) -> list[str]:
    if not answer["changed"]:
        return [f"{answer['configuration']} is of version {answer['to']}, the newest: nothing to do"]
    if answer["dry_run"]:
        return ["a dry run: nothing was written"]
    return [
        f"{answer['configuration']} is of version {answer['to']} now",
        "next: `tlsrt-supervisor seal`, and `reload` if the host runs",
    ]


def difference(name: str, before: bytes | None, after: bytes | None) -> list[str]:
    """Return two contents of a file as a unified difference; None: there is no file. Pure."""
    old, new = (None if data is None else data.decode("utf-8", "replace").splitlines() for data in (before, after))
    lines = unified_diff(
        old or [], new or [], "nothing" if old is None else name, "nothing" if new is None else name, n=2, lineterm=""
    )
    return list(lines) or [f"{name}: the end of a line, or bytes that are no text"]
