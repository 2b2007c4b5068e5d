"""Runs scenarios of probes.sandbox_scenarios under the real launcher, as root and as a user without rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tlsrt
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.profile.compose import code_paths

HERE = Path(__file__).parent
NOBODY = 65534
MODES = ("root", "rootless") if os.geteuid() == 0 else ("rootless",)
LAUNCH = """
import sys
from tlsrt.supervisor.launch.launcher import launch
sys.exit(launch(sys.argv[1:], program={program!r}))
"""
PROGRAM = (
    f"import sys; sys.path.insert(0, {str(HERE.parent)!r}); from probes import sandbox_scenarios; "
    "from tlsrt.supervisor.launch.launcher import inner; inner(sandbox_scenarios.supervise)"
)


def _closed_parent(path: Path) -> Path | None:
    """The outermost parent that a foreign uid may not pass."""
    closed = [parent for parent in path.parents if not parent.stat().st_mode & 0o001]
    return closed[-1] if closed else None


def _open_homes(paths: list[Path]) -> None:
    """Show what lies below a 0700 home to a foreign uid, in a mount namespace of our own."""
    below: dict[Path, list[Path]] = {}
    for path in paths:
        closed = _closed_parent(path)
        if closed is not None:
            below.setdefault(closed, []).append(path)
    if not below:
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    for closed, inside in below.items():
        outermost = [path for path in inside if not set(path.parents) & set(inside)]
        trees = [(path, syscalls.open_tree(str(path), recursive=True)) for path in dict.fromkeys(outermost)]
        syscalls.mount("tmpfs", str(closed), "tmpfs", 0, "mode=755")
        for path, tree in trees:
            path.mkdir(parents=True)
            syscalls.move_mount(tree, str(path))
            os.close(tree)


def become_nobody() -> None:
    """Before the exec of a child: give up root, keeping the interpreter and the code within reach."""
    become(NOBODY)


def become(uid: int) -> None:
    """Become this user and nothing else, as `become_nobody`."""
    prefixes = [Path(os.path.realpath(prefix)) for prefix in (sys.base_prefix, sys.prefix)]
    rooms = [Path(os.path.realpath(path)) for path in code_paths() if path.is_dir()]
    _open_homes([*prefixes, *rooms, HERE, Path(tlsrt.__path__[0]).resolve()])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


class SandboxRunner:
    """A base folder and a way to run a scenario in it."""

    def __init__(self, mode: str, base: Path) -> None:
        self.mode = mode
        self.base = base
        self.stderr = ""

    def start(self, scenario: str, launch: str = LAUNCH, **options: Any) -> subprocess.Popen[str]:
        """Start the launcher with a scenario; `launch` is the text of the outer program."""
        drops = self.mode == "rootless" and os.geteuid() == 0
        return subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", launch.format(program=PROGRAM), scenario, str(self.base)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd="/",
            **{"preexec_fn": become_nobody if drops else None, **options},
        )  # fmt: skip

    def run(self, scenario: str) -> dict[str, Any]:
        """Run a scenario to its end and return its facts."""
        with self.start(scenario) as process:
            out, self.stderr = process.communicate(timeout=60)
        assert process.returncode == 0, self.stderr
        facts: dict[str, Any] = json.loads(out.splitlines()[-1])
        return facts


def make_base(mode: str) -> Path:
    base = Path(tempfile.mkdtemp(prefix="tlsrt-sandbox."))
    (base / "keys").mkdir()
    (base / "keys" / "master.key").write_bytes(bytes(32))
    package = base / "home" / "package"
    package.mkdir(parents=True)
    (package / "notes_below_a_closed_home.py").write_text("ANSWER = 42\n")
    package.chmod(0o755)
    (base / "home").chmod(0o700)
    base.chmod(0o755)
    if mode == "rootless" and os.geteuid() == 0:
        for path in (base, *base.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    return base


@contextmanager
def make_stage(mode: str) -> Iterator[SandboxRunner]:
    """Make a stage; its folder is removed at the end."""
    base = make_base(mode)
    try:
        yield SandboxRunner(mode, base)
    finally:
        shutil.rmtree(base)
