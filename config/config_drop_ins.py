"""Drop-ins of the configuration itself: `tlsrt.yaml.d/*.yaml` beside `tlsrt.yaml`, read in the order of their names.

Each has keys of a configuration. Tables are merged key by key, at any depth; everything else, a list too, takes the
place of what an earlier file says. What says which host this is stands in the main file only. Unlike a component's
drop-in, a wrong one is a wrong configuration: nothing starts, and nothing is reloaded.

Files whose names begin with a dot are passed over, as editors and config maps make them; other names that do not end
with `.yaml` are left out with a remark.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from tlsrt.config.files import read_bounded
from tlsrt.config.trusted_path import check_trusted, host_uids
from tlsrt.config.validation import twice
from tlsrt.config.yaml_nodes import Problems, YamlNode
from tlsrt.errors import ConfigError

ENDING = ".yaml"
PREFIX = "config.d/"  # of their names in a measurement
MAIN_ONLY = frozenset({
    "version", "install", "master_key", "boot_token", "measure", "state_dir", "run_dir", "log_dir",
})  # fmt: skip
_MOST = 128
_MAX_BYTES = 1 << 20  # of one, as of the main file

ConfigDropIns = Mapping[str, bytes]  # name -> content, in the order in which they are read


def config_drop_in_folder(config: Path) -> Path:
    """Return where the drop-ins of a configuration lie."""
    return config.with_name(f"{config.name}.d")


def read_config_drop_ins(config: Path) -> dict[str, bytes]:
    """Return every drop-in of a configuration by name, in their order.

    Raises ConfigError, also for one that another user could exchange, or that was not written to its end.
    """
    folder = config_drop_in_folder(config)
    names = [name for name in _names(folder) if name.endswith(ENDING)]
    if len(names) > _MOST:
        raise ConfigError(f"{folder} has more than {_MOST} drop-ins: put some together")
    return {name: _read(folder / name, config) for name in names}


def left_out(config: Path) -> list[str]:
    """Return a sentence for each file of the folder that is no drop-in by its name."""
    folder = config_drop_in_folder(config)
    return [
        f"{folder / name} is left out: the name of a drop-in ends with {ENDING}"
        for name in _names(folder)
        if not name.endswith(ENDING)
    ]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror}") from None


def _read(path: Path, config: Path) -> bytes:
    check_trusted(path, "the drop-in", host_uids(config))  # before a word of it is repeated
    data = read_bounded(path, _MAX_BYTES, "the drop-in")
    check_written_whole(path, data)
    return data


def check_written_whole(path: Path, data: bytes) -> None:
    """Refuse a file that ends within a line, as one does of which a part is not written yet. Raises ConfigError."""
    if not data.endswith(b"\n"):
        line = data.count(b"\n") + 1
        column = len(data) - (data.rfind(b"\n") + 1) + 1
        raise ConfigError(
            f"{path}:{line}:{column}: the file ends within a line, so it may be half-written: write it anew, or end "
            "it with a newline"
        )


def config_drop_in_digests(files: ConfigDropIns) -> dict[str, bytes]:
    """Return these files as a measurement has them."""
    return {f"{PREFIX}{name}": hashlib.sha256(data).digest() for name, data in files.items()}


def merged(main: YamlNode, drop_in: YamlNode, problems: Problems) -> YamlNode:
    """Return what both files say together; `drop_in` is the later one. Pure."""
    if drop_in.pairs is None:
        problems.add(drop_in.line, drop_in.column, "a drop-in must be a table of keys and values")
        return main
    for key, _ in drop_in.pairs:
        if key.text in MAIN_ONLY:
            problems.add(key.line, key.column, f"{key.text} stands in the main file only: remove it here")
    return _merged(main, drop_in, problems)


def _merged(first: YamlNode, later: YamlNode, problems: Problems) -> YamlNode:
    if first.pairs is None or later.pairs is None:
        return later
    pairs = [*first.pairs]
    at = {key.text: index for index, (key, _) in reversed([*enumerate(first.pairs)]) if key.kind == "scalar"}
    seen: dict[str, int] = {}
    for key, value in later.pairs:
        if key.text in seen and key.kind == "scalar":
            problems.add(key.line, key.column, twice(key.text, problems.line(seen[key.text])))
            continue
        seen[key.text] = key.line
        index = at.get(key.text) if key.kind == "scalar" else None
        if index is None:
            pairs.append((key, value))
            continue
        known, there = pairs[index]
        is_merged = there.pairs is not None and value.pairs is not None
        pairs[index] = (known if is_merged else key, _merged(there, value, problems))
    return YamlNode(first.kind, first.line, first.column, pairs=pairs)
