"""Completion for shells, generated from the table of a command.

`tree.py` has the table as completion needs it, one module a shell writes the script. The scripts are static: a TAB
starts no Python. (shtab 1.7, the well-kept generator for argparse, knows no fish and no verbs outside of subparsers.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlsrt.command_line.bash import bash_script
from tlsrt.command_line.fish import fish_script
from tlsrt.command_line.table import Command
from tlsrt.command_line.tree import CommandNode, node_of
from tlsrt.command_line.zsh import zsh_script

SCRIPTS: Mapping[str, Callable[[CommandNode], str]] = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}


def script_of(shell: str, command: Command) -> str:
    """Return the script that teaches a shell of SCRIPTS this command."""
    return SCRIPTS[shell](node_of(command))
