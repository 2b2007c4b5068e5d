"""Code that the interpreter would read after the seal: read before it, and never after.

The library imports some of its parts only when they are needed (`strptime`, the executor of `getaddrinfo`, codecs), and
every traceback looks for the lines of its sources. A sealed process may open none of that. So before the first fork
`preload` imports those parts and `remember_sources` keeps the sources of our own modules, once for all processes; a
loop remembers those of its components too. After the seal `end_imports` answers a late import with a sentence, without
looking for a file, and tracebacks show the lines that are remembered.
"""

from __future__ import annotations

import importlib
import io
import linecache
import sys
import threading
import tokenize
import traceback
from collections.abc import Collection, Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter
from types import ModuleType
from typing import Any, NoReturn

_LAZY = (
    "_strptime", "locale", "concurrent.futures.thread", "stringprep", "unicodedata", "linecache", "tracemalloc",
)  # fmt: skip
_CODECS = (
    "ascii", "latin_1", "iso8859_1", "iso8859_15", "cp1252", "cp437", "utf_8", "utf_8_sig", "utf_16", "utf_16_le",
    "utf_16_be", "utf_32", "utf_7", "idna", "punycode", "unicode_escape", "hex_codec", "base64_codec", "aliases",
)  # fmt: skip
_SINCE = {(3, 13): ("_colorize",)}
_SOURCE_BYTES = 1 << 20  # a larger file is no source that people read
_last = ""  # the newest module that `remember_sources` has looked at
_sources: dict[str, bytes] = {}  # by path; made into lines only for a traceback


def preload() -> None:
    """Import what the library would import lazily. Raises ImportError for an interpreter that is not whole."""
    for name in (*_LAZY, *(f"encodings.{codec}" for codec in _CODECS)):
        importlib.import_module(name)
    for since, names in _SINCE.items():
        for name in names if sys.version_info >= since else ():
            importlib.import_module(name)


def remember_sources(packages: Collection[str]) -> None:
    """Keep the sources of newly imported modules of these packages, for tracebacks.

    Older ones are not even looked at: that would write to the reference count of each, and in a forked child copy the
    pages of all, which is a fifth of the memory that it does not share.
    """
    global _last
    new: list[str] = []
    for name in reversed(sys.modules):  # in the order of their import
        if name == _last:
            break
        new.append(name)
    _last = new[0] if new else _last
    for name in new:
        path = getattr(sys.modules.get(name), "__file__", None) if name.partition(".")[0] in packages else None
        if isinstance(path, str) and path not in _sources:
            try:
                with open(path, "rb") as file:
                    _sources[path] = file.read(_SOURCE_BYTES)
            except OSError:
                continue  # an import from elsewhere than a file


def _lines_of(filename: str, module_globals: dict[str, Any] | None = None) -> list[str]:
    """Stands for linecache.updatecache: the lines of a file, if its source was remembered."""
    source = _sources.get(filename)
    if source is None:
        return []
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        lines = source.decode(encoding).splitlines(keepends=True)
    except (SyntaxError, UnicodeDecodeError):
        return []  # an extension module
    linecache.cache[filename] = (len(source), None, lines, filename)
    return lines


_TOLD_MOST = 32  # late imports that are told, of one process
_told: set[str] = set()


class _Closed:
    """The last finder of modules: there are no more.

    Each is told in the log as well, as many libraries say something else of what they cannot import: `from x import y`
    drops what is raised here, and looks up plugins that it does not find.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> NoReturn:
        _tell_late(name)
        raise ModuleNotFoundError(
            f"cannot import {name} now: a sealed process reads no code; import it at the top of a module; "
            f"if a library does so, write `imports: [{name}]` beside the class of the component, or "
            f"`imports: [{name.partition('.')[0]}.*]` for all of its package",
            name=name,
        )


def _tell_late(name: str) -> None:
    """Say, once of each, which module was looked for after the seal."""
    if name in _told or len(_told) >= _TOLD_MOST:
        return
    _told.add(name)
    print(f"late import: {name}; if something fails by it, write `imports: [{name}]`", file=sys.stderr, flush=True)


def end_imports() -> None:
    """Stop looking for code: imports, sources, and the interpreter's printing of uncaught errors."""
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, _Closed]
    linecache.updatecache = _lines_of
    linecache.checkcache = lambda filename=None: None
    sys.excepthook = lambda kind, error, trace: traceback.print_exception(kind, error, trace)
    sys.unraisablehook = _print_unraisable
    threading.excepthook = lambda args: traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback)


def _print_unraisable(args: Any) -> None:
    print(f"{args.err_msg or 'Exception ignored in'}: {args.object!r}", file=sys.stderr)
    traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback)
