"""Byte code of this host, written by `seal` and vouched for by the boot token.

    FOLDER/<folder of the source>/<module>.cpython-313.pyc        beside the configuration: import_path.bytecode_folder

The runtime reads no other, so that a file in a `__pycache__` beside the sources, which is not measured, never runs.
Each file holds the hash of its source (PEP 552, checked), and is passed over where that differs. Without this folder
a start works, and compiles everything anew, which takes three times as long.
"""

from __future__ import annotations

import hmac
import importlib.util
import os
import py_compile
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tlsrt.config.code_root import Root, walk
from tlsrt.config.files import as_config_error
from tlsrt.config.import_path import bytecode_folder, is_checkout
from tlsrt.config.measure import measure_bytecode
from tlsrt.config.packages import roots
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

_HEADER = 16
_CHECKED = (3).to_bytes(4, "little")  # flags: by hash, and checked
_SEVERAL = 64  # files that one processor compiles before another one helps
_NOT_IMPORTED = {"idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip"}
# What of the standard library a start imports, on any Python; components of the operator's may import all of it.
_NAMES = """
__future__ _collections_abc _colorize _compat_pickle _opcode_metadata _strptime _weakrefset abc argparse ast asyncio
base64 bisect calendar codecs collections concurrent contextlib contextvars copy copyreg csv ctypes dataclasses datetime
difflib dis email encodings enum fnmatch functools genericpath gettext glob hashlib heapq hmac importlib inspect io
ipaddress json keyword linecache locale logging ntpath opcode operator os pathlib pickle platform posixpath queue quopri
random re reprlib secrets selectors shlex signal site socket sqlite3 ssl stat string stringprep struct subprocess
sysconfig textwrap threading token tokenize traceback tracemalloc types typing urllib warnings weakref zipimport
sre_compile sre_constants sre_parse uu zipfile tempfile shutil bz2 lzma gzip _compression
"""
_LIBRARY = frozenset(_NAMES.split())
_BUILT = "_sysconfigdata_"  # begins the name of how the interpreter was built, which sysconfig imports


def write_bytecode(config: Config, known: bytes | None = None) -> None:
    """Compile what is measured, where we may write, and remove what no longer has a source.

    What is there is kept if it is `known`, from the boot token in force, else made anew. Not in a checkout.
    Raises ConfigError for a package that is not installed, and if what is not kept cannot be removed.
    """
    if is_checkout():
        return
    folder = bytecode_folder(config.path)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"cannot write byte code to {folder}: it is no folder; remove it")
    present = measure_bytecode(config)
    has_others = any(component.is_foreign for component in config.components)
    sources = sorted({source for root in roots(config) for source in _sources(root, has_others)})
    if present is not None and (known is None or not hmac.compare_digest(present, known)):
        with as_config_error("remove", folder):  # else it would be sealed
            shutil.rmtree(folder)
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)  # whatever the umask: loops read it
    except OSError:
        return  # a start goes without, or refuses what is there
    _compile_all(str(folder), sources)
    with as_config_error("write", folder):
        _remove_others(folder, {_target(str(folder), source) for source in sources})


def forget_bytecode(config: Config, known: bytes | None) -> None:
    """Remove all byte code, unless it has this digest: a start does without. The folders stay. Raises ConfigError."""
    present = measure_bytecode(config)
    if present is not None and present != known:
        with as_config_error("remove", bytecode_folder(config.path)):
            _remove_others(bytecode_folder(config.path), set())


def _sources(root: Root, has_others: bool) -> Iterator[str]:
    if not root.path.is_dir():
        yield from [str(root.path)] if root.path.suffix == ".py" else []
        return
    for name, entry in walk(root):
        top = name.split("/")[1].removesuffix(".py") if root.name == "python" else ""
        if name.endswith(".py") and "/tests/" not in name and _may_be_imported(top, has_others):
            yield entry.path


def _may_be_imported(top: str, has_others: bool) -> bool:
    """Tell whether a start may import a module of the standard library; "" is a module of anything else."""
    return not top or top in _LIBRARY or top.startswith(_BUILT) or (has_others and top not in _NOT_IMPORTED)


def _compile_all(folder: str, sources: list[str]) -> None:
    parts = min(os.cpu_count() or 1, len(sources) // _SEVERAL + 1)
    children = [_in_child(folder, sources[number::parts]) for number in range(1, parts)]
    _compile(folder, sources[::parts])
    for child in children:
        os.waitpid(child, 0)


def _in_child(folder: str, sources: list[str]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _compile(folder, sources)
        finally:
            os._exit(0)  # what it has not compiled is compiled at each start
    return pid


def _compile(folder: str, sources: Iterable[str]) -> None:
    before = os.umask(0o022)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the code of others
            for source in sources:
                target = _target(folder, source)
                with suppress(OSError, ValueError, py_compile.PyCompileError, RecursionError):
                    if not _is_of(target, source):
                        py_compile.compile(
                            source, target, doraise=True, quiet=2,
                            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
                        )  # fmt: skip
    finally:
        os.umask(before)


def _target(folder: str, source: str) -> str:
    """Return where the interpreter looks for the byte code of a source, below its pycache_prefix."""
    head, tail = os.path.split(source)
    return f"{folder}{head}/{tail.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"


def _is_of(target: str, source: str) -> bool:
    try:
        with open(target, "rb") as file:
            header = file.read(_HEADER)
    except FileNotFoundError:
        return False
    with open(source, "rb") as file:
        wanted = importlib.util.MAGIC_NUMBER + _CHECKED + importlib.util.source_hash(file.read())
    return header == wanted


def _remove_others(folder: Path, wanted: set[str]) -> None:
    for here, _, names in os.walk(folder):
        for name in names:
            if (path := os.path.join(here, name)) not in wanted:
                os.unlink(path)
