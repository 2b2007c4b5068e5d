"""Hook of MkDocs: pages that are not below docs/, links between both, and links to the tree."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # mkdocs is an extra, and has no types
    from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = (
    "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "PROTOCOL.md", "LICENSE",
    "bench/README.md", "bench/MEASURED.md", "examples/notes/README.md", "examples/mqtt/README.md",
    "examples/devices/README.md",
    "examples/node/README.md", "examples/home_assistant/README.md",
)  # fmt: skip
_LINK = re.compile(r"(\[[^\]]*\])\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Put the pages of a folder into the navigation, in the order of its index."""
    for entry in config.nav:
        for title, value in entry.items():
            if isinstance(value, str) and value.endswith("/"):
                links = _LINK.findall((ROOT / "docs" / value / "index.md").read_text())
                pages = dict.fromkeys(value + link for _, link in links if re.fullmatch(r"[\w-]+\.md", link))
                entry[title] = [f"{value}index.md", *pages]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root to the site; README is its first page."""
    from mkdocs.structure.files import File

    for name in OUTSIDE:
        files.append(File.generated(config, _site(name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links between files of the tree into links between pages of the site."""
    own = page.file.src_uri
    tree = own if own in OUTSIDE or own == "index.md" else f"docs/{own}"
    tree = "README.md" if own == "index.md" else tree

    def turned(found: re.Match[str]) -> str:
        text, link = found.groups()
        target, mark, anchor = link.partition("#")
        if not target or re.match(r"https?:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(tree), target))
        if (ROOT / path / "README.md").exists():
            path += "/README.md"
        if (ROOT / path).exists() and not path.startswith("docs/") and path not in OUTSIDE:
            return f"{text[1:-1]} (`{path}`)"
        return f"{text}({posixpath.relpath(_site(path), posixpath.dirname(own) or '.')}{mark}{anchor})"

    return _LINK.sub(turned, markdown)


def _site(path: str) -> str:
    """Return where a file of the tree is in the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")
