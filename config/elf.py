"""Executables and the libraries that their loader will load with them: read from the files, nothing is run.

An ELF file names its loader (PT_INTERP) and the libraries that it needs (DT_NEEDED), elf(5). Where those lie the loader
looks up as ld.so(8) says: in the paths that the file names, in /etc/ld.so.cache, in the usual folders. What a program
opens later by itself (dlopen(3): plugins, character sets) cannot be told from outside; but what shared objects below
its own folders need is found.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tlsrt.errors import ConfigError

CACHE = Path("/etc/ld.so.cache")
_FOLDERS = ("/lib", "/usr/lib", "/usr/local/lib", "/lib64", "/usr/lib64")
_TRIPLES = {"x86_64": ("x86_64-linux-gnu", 62, 0x0300), "aarch64": ("aarch64-linux-gnu", 183, 0x0A00)}
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_NULL, _NEEDED, _STRTAB, _STRSZ, _RPATH, _RUNPATH = 0, 1, 5, 10, 15, 29
_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEADER = struct.Struct("<20sII20x")
_CACHE_ENTRY = struct.Struct("<iIIIQ")
_CACHE_MOST = 16 << 20
_SEGMENTS_MOST, _TABLE_MOST, _NAME_MOST, _FILES_MOST = 256, 8 << 20, 4096, 1024
_BELOW_MOST = 50_000  # files that are looked at below one folder
_SCRIPT_MOST = 256  # as the kernel reads it, execve(2)

Read = Callable[[int, int], bytes]  # (offset, count) -> at most so many bytes


@dataclass(frozen=True, slots=True)
class Elf:
    """What the loader goes by. The machine's number, loader, names of libraries, and folders to look in."""

    machine: int
    loader: str | None
    needed: tuple[str, ...]
    folders: tuple[str, ...]  # with $ORIGIN in them


def parse_elf_untrusted(read: Read) -> Elf | None:
    """Return what an ELF file says; None for a file that is none. Raises ValueError for one that is damaged."""
    head = read(0, _HEADER.size)
    if not head.startswith(_MAGIC[:4]):
        return None
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise ValueError("it is no 64-bit little-endian ELF file")
    _, _, machine, _, _, table_at, _, _, _, size, count, _, _, _ = _HEADER.unpack(head)
    if size != _SEGMENT.size or count > _SEGMENTS_MOST:
        raise ValueError("its table of segments makes no sense")
    segments = [_SEGMENT.unpack(_exactly(read, table_at + at * size, size)) for at in range(count)]
    loader: str | None = None
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length, _, _ in segments:
        if kind == _PT_INTERP:
            loader = os.fsdecode(_exactly(read, offset, _bounded(length, _NAME_MOST)).split(b"\0")[0])
        elif kind == _PT_DYNAMIC:
            entries = _entries(_exactly(read, offset, _bounded(length, _TABLE_MOST)))
    needed, folders = _names(read, segments, entries)
    return Elf(machine, loader, needed, folders)


def _bounded(length: int, most: int) -> int:
    if length > most:
        raise ValueError("a part of it is too long")
    return length


def _exactly(read: Read, offset: int, count: int) -> bytes:
    data = read(offset, count) if offset < 1 << 62 else b""
    if len(data) != count:
        raise ValueError("it ends too early")
    return data


def _entries(data: bytes) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for at in range(0, len(data) - len(data) % _DYNAMIC.size, _DYNAMIC.size):
        tag, value = _DYNAMIC.unpack_from(data, at)
        if tag == _NULL:
            break
        found.append((tag, value))
    return found


def _names(
    read: Read, segments: Iterable[tuple[int, ...]], entries: list[tuple[int, int]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    values = dict(entries)
    if _STRTAB not in values:
        return (), ()
    address = values[_STRTAB]
    base = next((s[2] + address - s[3] for s in segments if s[0] == _PT_LOAD and s[3] <= address < s[3] + s[5]), None)
    if base is None:
        raise ValueError("its table of names lies nowhere")
    texts = _exactly(read, base, _bounded(values.get(_STRSZ, 0), _TABLE_MOST))

    def text(at: int) -> str:
        if at >= len(texts):
            raise ValueError("a name lies nowhere")
        return os.fsdecode(texts[at : at + _NAME_MOST].split(b"\0")[0])

    needed = tuple(text(value) for tag, value in entries if tag == _NEEDED)
    paths = [text(value) for tag, value in entries if tag in (_RUNPATH, _RPATH)]
    return needed, tuple(folder for path in paths for folder in path.split(":") if folder)


def parse_cache(data: bytes, kind: int) -> dict[str, tuple[str, ...]]:
    """Return name -> paths of libraries of one architecture in an ld.so.cache. Raises ValueError for a damaged one."""
    start = data.find(_CACHE_MAGIC)
    if start < 0:
        raise ValueError("no cache of a form that is known")
    data = data[start:]
    found: dict[str, tuple[str, ...]] = {}
    try:
        _, count, _ = _CACHE_HEADER.unpack_from(data)
        for number in range(count):
            flags, key, value, _, _ = _CACHE_ENTRY.unpack_from(data, _CACHE_HEADER.size + number * _CACHE_ENTRY.size)
            if flags & 0xFF == 3 and flags & 0xFF00 == kind:  # libc6 of this architecture
                name, path = (os.fsdecode(data[at : data.index(b"\0", at)]) for at in (key, value))
                found[name] = (*found.get(name, ()), path)
    except struct.error:
        raise ValueError("it ends too early") from None
    return found


@dataclass(frozen=True, slots=True)
class Executable:
    """What is executed for a path, and all files of it: the file itself, its loader, its libraries, its interpreter."""

    path: str  # that the kernel executes: the file, or the interpreter of a script
    prefix: tuple[str, ...]  # arguments before the caller's: what a script's first line says, and the script
    runs: tuple[str, ...]  # what the kernel must be let execute: `path` and its loader
    files: tuple[str, ...]
    origin: str  # the folder that $ORIGIN stands for, if a path says it; else empty


class ExecutableReader:
    """Reads executables of this host, and looks for each library once: a thousand files may need the same few."""

    def __init__(self, machine: str = "", cache: Path = CACHE) -> None:
        self._machine = machine or os.uname().machine
        self._cache = cache
        self._libraries: Mapping[str, tuple[str, ...]] | None = None
        self._found: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    def read(self, path: str) -> Executable:
        """Return all that belongs to an executable. Raises ConfigError for what cannot be executed."""
        prefix: tuple[str, ...] = ()
        script: tuple[str, ...] = ()
        if (first := _first_line(path)) is not None:
            interpreter, _, argument = first.partition(" ")
            if os.path.basename(interpreter) == "env":
                raise ConfigError(f"{path} asks env for its interpreter: write #! with the path of the interpreter")
            prefix = (*((argument.strip(),) if argument.strip() else ()), path)
            script, path = (path,), interpreter
            if _first_line(path) is not None:
                raise ConfigError(f"the interpreter {path} is a script itself: name a program that is none")
        runs, files, folders = self._closure(path)
        origin = os.path.dirname(os.path.realpath(path)) if any("ORIGIN" in one for one in folders) else ""
        return Executable(path, prefix, runs, (*script, *files), origin)

    def libraries_below(self, folder: str) -> tuple[str, ...]:
        """Return the libraries that shared objects in or below a folder need, and that lie elsewhere."""
        found: dict[str, None] = {}
        seen = 0
        for at, _, names in os.walk(folder):
            seen += len(names)
            if seen > _BELOW_MOST:
                break
            for name in names:
                path = os.path.join(at, name)
                if (name.endswith(".so") or ".so." in name) and self._fits(path):
                    found |= dict.fromkeys(self._closure(path)[1])
        above = f"{os.path.normpath(folder)}/"
        return tuple(path for path in found if not path.startswith(above))

    def _closure(self, path: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        elf = _elf(path)
        if elf is None:
            raise ConfigError(f"cannot run {path}: it is neither an ELF file nor a script with a #! line")
        if self._machine not in _TRIPLES or elf.machine != _TRIPLES[self._machine][1]:
            raise ConfigError(f"cannot run {path}: it is of another machine than {self._machine}")
        files: dict[str, None] = {path: None}
        runs = [path]
        if elf.loader is not None:
            runs.append(elf.loader)
            files[elf.loader] = None
        waiting = [(path, elf, elf.folders)]
        every: list[str] = [*elf.folders]
        while waiting:
            at, one, folders = waiting.pop()
            places = _places(at, folders) if one.needed else ()
            for name in one.needed:
                for found in self._find(name, places):
                    if found not in files:
                        files[found] = None
                        if len(files) > _FILES_MOST:
                            raise ConfigError(f"cannot run {path}: it has more than {_FILES_MOST} libraries")
                        library = _elf(found)
                        if library is not None:
                            every += library.folders
                            waiting.append((found, library, (*library.folders, *folders)))
        return tuple(runs), tuple(files), tuple(every)

    def _find(self, name: str, places: tuple[str, ...]) -> tuple[str, ...]:
        if (found := self._found.get((name, places))) is None:
            found = self._found[name, places] = tuple(self._look_for(name, places))
        return found

    def _look_for(self, name: str, places: tuple[str, ...]) -> list[str]:
        """Return where a library lies, nowhere for one that is not there: the program will say so itself."""
        if "/" in name:
            return [name] if os.path.exists(name) else []
        for place in places:
            if self._fits(os.path.join(place, name)):
                return [os.path.normpath(os.path.join(place, name))]
        if cached := [path for path in self._cached().get(name, ()) if self._fits(path)]:
            return cached
        triple = _TRIPLES[self._machine][0]
        usual = [f"{folder}/{triple}" for folder in _FOLDERS[:2]] + [*_FOLDERS]
        return [path for folder in usual if self._fits(path := f"{folder}/{name}")][:1]

    def _fits(self, path: str) -> bool:
        try:
            elf = _elf(path)
        except ConfigError:
            return False
        return elf is not None and elf.machine == _TRIPLES[self._machine][1]

    def _cached(self) -> Mapping[str, tuple[str, ...]]:
        if self._libraries is None:
            try:
                with self._cache.open("rb") as file:
                    self._libraries = parse_cache(file.read(_CACHE_MOST), _TRIPLES[self._machine][2])
            except (OSError, ValueError):
                self._libraries = {}
        return self._libraries


def _places(user: str, folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders that a file says, those beside it with its place in them."""
    if not any("ORIGIN" in folder for folder in folders):
        return folders
    origin = os.path.dirname(os.path.realpath(user))
    return tuple(folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for folder in folders)


def _elf(path: str) -> Elf | None:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    return _elf_at(path, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _elf_at(path: str, device: int, inode: int, changed_ns: int, size: int) -> Elf | None:
    """Read one file; the other arguments only tell it from an earlier one at this path."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    try:
        return parse_elf_untrusted(lambda offset, count: os.pread(descriptor, count, offset))
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    finally:
        os.close(descriptor)


def _first_line(path: str) -> str | None:
    """Return what stands behind #! in the first line of a script; None if it is none. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            head = file.read(_SCRIPT_MOST)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if not head.startswith(b"#!"):
        return None
    return os.fsdecode(head[2:].split(b"\n")[0].strip().replace(b"\t", b" "))
