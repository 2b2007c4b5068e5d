"""Completion for shells, generated from the parsers of a command, so that a new verb or option is in it by itself.

`tree.py` reads the parsers, one module a shell writes the script. The scripts are static: a TAB starts no Python.
(shtab 1.7, the well-kept generator for argparse, knows no fish and no verbs outside of subparsers.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlsrt.channels.cli.completion.bash import bash_script
from tlsrt.channels.cli.completion.fish import fish_script
from tlsrt.channels.cli.completion.tree import CommandNode
from tlsrt.channels.cli.completion.zsh import zsh_script

SCRIPTS: Mapping[str, Callable[[CommandNode], str]] = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}


def script_of(shell: str, tree: CommandNode) -> str:
    """Return the script that teaches a shell of SCRIPTS this command."""
    return SCRIPTS[shell](tree)
