"""A host that keeps an index of trees, mailboxes and notes, with the real model; and what its commands say."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.extras import need_extra

from hosts.language_model import brought
from hosts.running_host import RunningHost

FILES, SEARCH, MESSAGES = "third/files", "secondary/search", "external/messages"
STORE, DIARY = "secondary/store", "diary"  # a namespace that only admin may use
LIMIT_S = 60.0


@contextmanager
def trees() -> Iterator[Path]:
    """Give a folder with the folders of two trees: `work`, and `own` that only admin may read."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-trees.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for tree in ("work", "own"):
            (folder / tree).mkdir()
        yield folder


def components(folder: Path) -> dict[str, Any]:
    """Return the components, as `component add` makes them."""
    need_extra("ai", "wordllama")
    shelves = {
        "work": {"path": str(folder / "work"), "readers": ["*"], "writers": [], "index": True},
        "own": {"path": str(folder / "own"), "readers": ["client/admin"], "writers": [], "index": True},
        "plain": {"path": str(folder / "own"), "readers": ["client/admin"], "writers": []},
    }  # fmt: skip
    found = {FILES: brought(FILES, trees=shelves), SEARCH: brought(SEARCH), MESSAGES: brought(MESSAGES, index=True)}
    diary = {"read": ["client/admin"], "write": ["client/admin"], "index": True}
    found[STORE] = brought(STORE, index=True, namespaces={DIARY: diary})
    found[FILES]["needs"]["read"] = [{"path": str(folder / name), "why": "a test"} for name in ("work", "own")]
    return found


POLICY = {
    **{f"client/admin -> {one}": "*" for one in (FILES, SEARCH, MESSAGES, STORE)},
    **{
        f"{one} -> {SEARCH}": ["add_file", "remove", "sources", "parts", "search"] for one in (FILES, MESSAGES, STORE)
    },
    f"client/anna -> {STORE}": ["find", "get", "put"],
    f"client/anna -> {FILES}": ["find", "read"], f"client/anna -> {MESSAGES}": "*",
    f"client/anna -> {SEARCH}": ["search", "sources", "parts"],
}  # fmt: skip


def until(what: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """Return what is true at last."""
    end = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < end, found
        time.sleep(0.05)  # an index tells no one when it has something
    return found


def tlsrt(host: RunningHost, *words: str, client: str = "admin") -> subprocess.CompletedProcess[str]:
    """Type `tlsrt` in a process of its own, as a client."""
    return subprocess.run(
        [str(host.python), "-I", "-B", "-m", "tlsrt.channels.cli.main", *words,
         "--bundle", str(host.folder / f"{client}.tlsrt")],
        capture_output=True, text=True, timeout=200, cwd=host.base,
    )  # fmt: skip
