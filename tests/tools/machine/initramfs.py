"""An initramfs: busybox with its libraries, modules in the order in which they are loaded, and files of the test's."""

from __future__ import annotations

import lzma
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

_FOLDERS = ("bin", "dev", "given", "lower", "memory", "modules", "new", "proc", "sys")


def in_order(folder: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """Return modules below a folder with all that they depend on, the first to be loaded first.

    No depmod has run for a kernel that is unpacked and not installed, so each module is asked.
    """
    places = {path.name.partition(".")[0].replace("-", "_"): path for path in folder.rglob("*.ko.xz")}
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in found:
            return
        data = lzma.decompress(places[name].read_bytes())
        said = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in said[1].decode().split(",") if said is not None else ():
            if other:
                add(other.replace("-", "_"))
        found[name] = data

    for name in wanted:
        add(name.replace("-", "_"))
    return found


def archive(modules: Mapping[str, bytes], files: Mapping[str, bytes]) -> bytes:
    """Return it as cpio(5), the format `newc`; `files` are programs."""
    made: dict[str, tuple[int, bytes]] = dict.fromkeys(_FOLDERS, (0o40755, b""))
    for number, (name, data) in enumerate(modules.items()):
        made[f"modules/{number:02}-{name}.ko"] = (0o100644, data)
    for path in (Path("/usr/bin/busybox"), *_libraries("/usr/bin/busybox")):
        target = "bin/busybox" if path.name == "busybox" else str(path).lstrip("/")
        for above in reversed(Path(target).parents[:-1]):
            made.setdefault(str(above), (0o40755, b""))
        made[target] = (0o100755, path.read_bytes())
    for name, data in files.items():
        made[name] = (0o100755, data)
    made["TRAILER!!!"] = (0, b"")
    return b"".join(_entry(number, name, *one) for number, (name, one) in enumerate(made.items(), 1))


def _libraries(program: str) -> list[Path]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [Path(word) for word in said.split() if word.startswith("/")]


def _entry(number: int, name: str, mode: int, data: bytes) -> bytes:
    words = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
