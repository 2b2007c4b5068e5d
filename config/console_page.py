"""The files of the console's page, which are part of tlsrt and measured with its code: read, bounded and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tlsrt.config.import_path import package_folder
from tlsrt.errors import ConfigError

INDEX = "index.html"
FILE_MAX = 256 * 1024
FILES_MAX = 128
TOTAL_MAX = 1024 * 1024  # bytes
# Each is measured with the code: see CODE in code_root.py.
MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return one hash over names and contents, in hex: SHA-256 of the lines `HASH  NAME`, as sha256sum writes them."""
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_page(folder: Path | None = None) -> dict[str, bytes]:
    """Return the files of the page by name. Raises ConfigError if it is not complete, or too large to be kept."""
    folder = folder or package_folder() / "loops" / "third" / "console" / "page"
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in MEDIA_TYPES)
        files = {path.name: path.read_bytes() for path in paths[: FILES_MAX + 1]}
    except OSError as error:
        raise ConfigError(f"cannot read the console's page: {error}; install tlsrt again") from error
    sizes = list(map(len, files.values()))
    if INDEX not in files:
        raise ConfigError(f"the console's page has no {INDEX}; install tlsrt again")
    if len(files) > FILES_MAX or max(sizes) > FILE_MAX or sum(sizes) > TOTAL_MAX:
        raise ConfigError(
            f"the console's page is too large: at most {FILES_MAX} files of {FILE_MAX} bytes, {TOTAL_MAX} in all"
        )
    return files
