"""Ctrl-C while a command is imported ends it with 130 and without a word."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

DURING_IMPORT = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGINT)
from tlsrt import entry
sys.meta_path.insert(0, Interrupting())
sys.exit(getattr(entry, sys.argv[1])())
"""


@pytest.mark.parametrize("command", ["client", "supervisor"])
@pytest.mark.parametrize("module", ["tlsrt.command_line.run", "tlsrt.command_line.table", "argparse"])
def test_an_interrupt_in_an_import_ends_the_command_quietly(command: str, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DURING_IMPORT, command, module], capture_output=True, text=True, timeout=30,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
