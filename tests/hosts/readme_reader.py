"""A reader of an example's README: types its commands beside a running host, in a folder like a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from hosts.running_host import RunningHost

_PROGRAMS = {"tlsrt": "client", "tlsrt-supervisor": "supervisor"}  # of tlsrt/entry.py


class ReadmeReader:
    """Types where `var`, which is the host's folder, and a copy of the example are.

    `replaced` are words of commands and of files of the example that are others here, as paths of a reader's are.
    """

    def __init__(self, host: RunningHost, example: Path, replaced: dict[str, str]) -> None:
        self._replaced = {**replaced, "7443": str(host.port)}
        text = (example / "README.md").read_text()
        blocks = re.findall(r"^```(?:console|text)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        self._commands = [line for block in blocks for line in re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.M)]
        self._folder = host.base / "checkout"
        (programs := self._folder / "programs").mkdir(parents=True)
        for name, entry in _PROGRAMS.items():
            words = f"import sys; sys.argv[0] = '{name}'; from tlsrt.entry import {entry}; sys.exit({entry}())"
            (programs / name).write_text(f'#!/bin/sh\nexec {host.python} -c "{words}" "$@"\n')
            (programs / name).chmod(0o755)
        (self._folder / "var").symlink_to(host.folder)
        shutil.copytree(example, self._folder / "examples" / example.name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (self._folder / "examples" / example.name).glob("*.yaml"):
            path.write_text(self._with_own(path.read_text()))
        self._environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TLSRT_CONFIG": str(host.config_path),
            "TLSRT_BUNDLE": str(host.folder / "admin.tlsrt"),
        }  # fmt: skip

    def type(self, beginning: str) -> str:
        """Type the first command that begins so; return what it prints."""
        command = self._with_own(next(one for one in self._commands if one.startswith(beginning)))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=self._folder, env=self._environment, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def _with_own(self, text: str) -> str:
        for word, other in self._replaced.items():
            text = text.replace(word, other)
        return text
