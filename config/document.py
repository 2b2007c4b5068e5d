"""The document of a configuration: its file, its drop-ins and the variables of its environment as one tree.

What is read stands in `ConfigFiles`, so that it can be parsed, measured and compared as it was at one moment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.config_drop_ins import (
    ConfigDropIns,
    config_drop_in_digests,
    config_drop_in_folder,
    left_out,
    merged,
    read_config_drop_ins,
)
from tlsrt.config.drop_ins import DropInFiles, drop_in_digests, drop_in_files
from tlsrt.config.files import read_bounded
from tlsrt.config.variables import KEY, put_in, variable_digests
from tlsrt.config.yaml_nodes import Problems, YamlNode, first_line, read_document
from tlsrt.errors import ConfigError

MAX_FILE_BYTES = 1 << 20
VERSION = 2  # of the format; an older one is read as it was meant
MIGRATE = "tlsrt-supervisor config migrate"


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """All that a configuration is read from."""

    main: bytes
    more: ConfigDropIns = field(default_factory=dict[str, bytes])
    components: DropInFiles = field(default_factory=dict[str, bytes | ConfigError])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    left_out: tuple[str, ...] = ()  # what lies beside the drop-ins and is none

    def digests(self, variables: Mapping[str, str]) -> dict[str, bytes]:
        """Return what a measurement says of these files, and of the variables that they list."""
        return {
            "config": hashlib.sha256(self.main).digest(), **config_drop_in_digests(self.more),
            **variable_digests(variables), **drop_in_digests(self.components),
        }  # fmt: skip


def read_files(path: Path) -> ConfigFiles:
    """Return what a configuration is read from. Raises ConfigError."""
    path = Path(os.path.abspath(path))
    return ConfigFiles(
        read_config(path), read_config_drop_ins(path), drop_in_files(path), os.environ, tuple(left_out(path))
    )


def read_config(path: Path) -> bytes:
    """Return the bytes of a configuration file. Raises ConfigError."""
    if not os.path.lexists(path):
        raise ConfigError(f"there is no configuration at {path}: run `tlsrt-supervisor init DIR` to make one")
    return read_bounded(path, MAX_FILE_BYTES, "the configuration")


@dataclass(frozen=True, slots=True)
class Document:
    """A tree that is to be checked; `problems` has what was wrong on the way, and knows the places of lines."""

    root: YamlNode | None
    problems: Problems
    version: int = VERSION
    variables: Mapping[str, str] = field(default_factory=dict[str, str])


def document_of(files: ConfigFiles, path: Path) -> Document:
    """Return the tree of a configuration. Raises ConfigError for what is no text. Pure."""
    folder = config_drop_in_folder(path)
    problems = Problems(str(path), [str(folder / name) for name in files.more])
    root = read_document(text_of(files.main, path), problems)
    if root is None or root.pairs is None:
        return Document(root, problems)
    version = _version(root, problems)
    if version == 1 and (files.more or any(key.text == KEY for key, _ in root.pairs)):
        what = "drop-ins" if files.more else KEY
        problems.add(root.line, root.column, f"a configuration of version 1 has no {what}: run `{MIGRATE}`")
        return Document(root, problems, version)
    for index, (name, data) in enumerate(files.more.items(), start=1):
        drop_in = read_document(text_of(data, folder / name), problems, first_line(index))
        root = root if drop_in is None else merged(root, drop_in, problems)
    variables = put_in(root, files.environment, problems) if version > 1 else {}
    return Document(root, problems, version, variables)


def _version(root: YamlNode, problems: Problems) -> int:
    """Return the version of the format that a file says; the newest one where it says none, which is found later."""
    said = next((value for key, value in root.pairs or () if key.text == "version"), None)
    if said is None or said.tag != "int" or not said.text.isdigit() or len(said.text) > 9:
        return VERSION
    if int(said.text) > VERSION:
        sentence = f"version {said.text} is of a newer tlsrt, and this one knows those up to {VERSION}: install that"
        problems.add(said.line, said.column, sentence)
        problems.raise_if_any()
    return int(said.text)


def text_of(data: bytes, path: Path) -> str:
    """Return the text of a file. Raises ConfigError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise ConfigError(f"{path}:{line}:{column}: the file is not UTF-8 text") from None
