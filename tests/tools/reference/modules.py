"""Every module with the first sentence of its docstring, by folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tools.reference.markdown import code, table

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("config", "channels", "sandbox", "loops", "supervisor", "tlsrt/testing")


def body() -> str:
    parts = []
    for room in ROOMS:
        folders = sorted({path.parent for path in (ROOT / room).rglob("*.py")})
        for folder in folders:
            modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
            name = folder.relative_to(ROOT)
            about = first_sentence(folder / "__init__.py") if (folder / "__init__.py").exists() else ""
            rows = [(code(path.stem), first_sentence(path)) for path in modules]
            head = f"## {name}\n\n{about}"
            parts.append(head.strip() + (f"\n\n{table(('module', 'what it is'), rows)}" if rows else ""))
    return "\n\n".join(parts)


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    found = re.match(r"(.+?[.?!])(?:\s+[A-Z`(]|$)", text)
    return (found[1] if found else text).replace("<", "&lt;")
