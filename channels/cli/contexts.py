"""`tlsrt context`: names for several hosts, each a bundle and perhaps another address; one of them is in use.

They are in `contexts.json` in the user's configuration folder, which only the user may write:

    {"format": 1, "use": "kettle", "contexts": {"kettle": {"bundle": "/path", "address": "10.1.1.1:7443"}}}
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.config import files
from tlsrt.config.bundle import read_bundle
from tlsrt.config.search_path import own_bundle
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.text import did_you_mean, printable

VARIABLE = "TLSRT_CONTEXT"
FORMAT = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_FILE_MAX = 1 << 20
_ADDRESS_MAX = 300


class HostContext(NamedTuple):
    """One host: the file of its bundle, and its address if that is not the bundle's."""

    bundle: str
    address: str | None = None


class Contexts(NamedTuple):
    """All of a user, and the name of the one in use, or ""."""

    known: Mapping[str, HostContext] = {}
    used: str = ""


def contexts_file() -> Path:
    """Return where they are kept."""
    return own_bundle().with_name("contexts.json")


def parse_contexts(data: bytes, path: Path) -> Contexts:
    """Return what a file says. Raises ConfigError."""
    try:
        tree = json.loads(data)
        known = {name: HostContext(one["bundle"], one.get("address")) for name, one in tree["contexts"].items()}
        used = tree["use"]
        is_good = tree["format"] == FORMAT and isinstance(used, str) and (not used or used in known)
        is_good = is_good and all(_NAME.fullmatch(name) and _is_right(one) for name, one in known.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_good = False
    if not is_good:
        raise ConfigError(f"cannot use {path}: it is damaged; remove it, and add the contexts again")
    return Contexts(known, used)


def _is_right(one: HostContext) -> bool:
    is_address = one.address is None or (isinstance(one.address, str) and len(one.address) <= _ADDRESS_MAX)
    return isinstance(one.bundle, str) and one.bundle.startswith("/") and "\0" not in one.bundle and is_address


def read_contexts() -> Contexts:
    """Return those of this user; none if there is no file. Raises ConfigError, also if another could write it."""
    path = contexts_file()
    if not os.path.lexists(path):
        return Contexts()
    check_trusted(path, "the contexts", trusted_uids())
    return parse_contexts(files.read_bounded(path, _FILE_MAX, "the contexts"), path)


def chosen(arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return bundle and address as the options say; None for what the search for a bundle decides.

    First what is named, --bundle or --context; then the variables, $TLSRT_BUNDLE and $TLSRT_CONTEXT; then the context
    in use. Raises ConfigError and InvalidArgument.
    """
    if arguments.bundle is not None and arguments.context is not None:
        raise InvalidArgument("--bundle and --context both name a host: leave one out")
    name = arguments.context
    if name is None and (arguments.bundle is not None or os.environ.get("TLSRT_BUNDLE")):
        return arguments.bundle, arguments.address
    contexts = read_contexts()
    name = name or os.environ.get(VARIABLE) or contexts.used
    if not name:
        return None, arguments.address
    found = _named(contexts, name)
    return found.bundle, arguments.address or found.address


def _named(contexts: Contexts, name: str) -> HostContext:
    found = contexts.known.get(name)
    if found is None:
        raise InvalidArgument(
            f"there is no context {printable(name, 60)!r}{did_you_mean(name, contexts.known)}: `tlsrt context list`"
        )
    return found


def add(arguments: argparse.Namespace) -> Document:
    """Name a host; the first one is in use at once."""
    if not _NAME.fullmatch(arguments.name):
        raise InvalidArgument(
            f"{printable(arguments.name, 60)!r} is no name: use lower-case letters, digits, dot, dash and underscore"
        )
    path = os.path.abspath(arguments.file)
    read_bundle(Path(path))  # what is no bundle is said now
    contexts = read_contexts()
    known = {**contexts.known, arguments.name: HostContext(path, arguments.address)}
    return _write(Contexts(known, contexts.used or arguments.name))


def use(arguments: argparse.Namespace) -> Document:
    """Have commands that name no host speak to this one."""
    contexts = read_contexts()
    _named(contexts, arguments.name)
    return _write(contexts._replace(used=arguments.name))


def remove(arguments: argparse.Namespace) -> Document:
    """Forget a name; its bundle stays."""
    contexts = read_contexts()
    _named(contexts, arguments.name)
    known = {name: one for name, one in contexts.known.items() if name != arguments.name}
    return _write(Contexts(known, contexts.used if contexts.used != arguments.name else ""))


def list_contexts(arguments: argparse.Namespace) -> Document:
    """Return all of them."""
    return _document(read_contexts())


def context_lines(answer: Document) -> list[str]:
    if not answer["contexts"]:
        return ["there is no context: `tlsrt context add NAME BUNDLE`"]
    rows = [
        ("*" if name == answer["use"] else "", name, one["address"] or "-", printable(one["bundle"]))
        for name, one in answer["contexts"].items()
    ]
    return fitted_table([("", "NAME", "ADDRESS", "BUNDLE"), *rows], least=("ADDRESS",), cut="BUNDLE")


def _document(contexts: Contexts) -> Document:
    known = {name: one._asdict() for name, one in sorted(contexts.known.items())}
    return {"format": FORMAT, "use": contexts.used, "contexts": known}


def _write(contexts: Contexts) -> Document:
    path, document = contexts_file(), _document(contexts)
    with files.as_config_error("make the folder", path.parent):
        os.makedirs(path.parent, 0o700, exist_ok=True)
    files.replace(path, json.dumps(document, indent=1).encode() + b"\n", 0o600)
    return document
