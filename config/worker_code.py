"""The code of a worker: which folders its interpreter is shown, and the words that it is started with.

It is started as a process of the runtime is (`import_path.py`): without `site`, from the folders where measured
packages lie. Nothing else lies there in its root, so what is not measured cannot be imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.code_root import Root
from tlsrt.config.package_folders import outermost

MAIN = "tlsrt.worker.main"


@dataclass(frozen=True, slots=True)
class WorkerCode:
    """What a worker imports: roots that are measured, the folders to show, and words for the interpreter."""

    roots: tuple[Root, ...]
    folders: tuple[Path, ...]
    words: tuple[str, ...]


def worker_code(
    module: str, packages: Sequence[Root], isolated: Path | None, library: Sequence[Root], rooms: Sequence[Path],
    bytecode: Path | None,
) -> WorkerCode:  # fmt: skip
    """Return the code of a worker. `isolated` is the folder with packages of its component alone, if it has one.

    `bytecode` is the folder of the host's byte code, if processes can come to it.
    """
    linked = [Root(room, f"tlsrt/{room.name}", only_code=True) for room in rooms]  # in a checkout only
    roots = dict.fromkeys((*packages, *linked, *library))
    cached = [one for root in roots if bytecode is not None and (one := _cached(root, bytecode)).exists()]
    places = dict.fromkeys(str(root.path if root.path == isolated else root.path.parent) for root in packages)
    words = ("-I", "-S", "-B", *(("-X", f"pycache_prefix={bytecode}") if bytecode is not None else ()))
    text = f"import sys; sys.path += {[*places]!r}; from {MAIN} import main; sys.exit(main({module!r}))"
    return WorkerCode(
        (*roots, *(Root(path, f"bytecode{path}") for path in cached)),
        tuple(outermost([*(root.path for root in roots), *cached])),
        (*words, "-c", text),
    )


def _cached(root: Root, bytecode: Path) -> Path:
    """Return where the byte code of a root lies; that of a module of one file has others beside it."""
    where = root.path if root.path.is_dir() else root.path.parent
    return bytecode / where.relative_to("/")
