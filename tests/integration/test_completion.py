"""Completion by real shells: every verb and option of the parsers is offered where it may stand, and nothing else."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tools.programs import need

from tlsrt.channels.cli import verbs as client_verbs
from tlsrt.command_line.completion import SCRIPTS, script_of
from tlsrt.command_line.tree import CommandNode, node_of, nodes
from tlsrt.supervisor.cli import verbs as host_verbs

pytestmark = pytest.mark.once

COMMANDS = {"tlsrt": client_verbs.COMMAND, "tlsrt-supervisor": host_verbs.COMMAND}
TREES = {name: node_of(command) for name, command in COMMANDS.items()}
_ASK = """
ask() {{
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _{function}
    printf '%s\\n' "${{COMPREPLY[@]}}" "--end--"
}}
"""


def in_bash(name: str, lines: list[list[str]], folder: Path) -> list[list[str]]:
    """Return what bash offers for the last word of each line."""
    asks = "\n".join("ask " + " ".join(map(shlex.quote, line)) for line in lines)
    script = script_of("bash", COMMANDS[name]) + _ASK.format(function=name.replace("-", "_")) + asks
    done = subprocess.run([need("bash"), "-uc", script], capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.stderr == ""
    answers = done.stdout.split("--end--\n")[:-1]
    return [[word for word in answer.split("\n") if word] for answer in answers]


def in_fish(name: str, lines: list[list[str]], folder: Path) -> list[list[str]]:
    """Return what fish offers for the last word of each line."""
    asks = "\n".join(f"complete -C '{' '.join(line)}'\necho --end--" for line in lines)
    script = script_of("fish", COMMANDS[name]) + asks
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        [need("fish"), "--no-config", "-c", script], capture_output=True, text=True, timeout=60, cwd=folder,
        env=environment,
    )  # fmt: skip
    assert done.stderr == ""
    answers = done.stdout.split("--end--\n")[:-1]
    return [[line.split("\t")[0] for line in answer.split("\n") if line] for answer in answers]


def words_of(node: CommandNode) -> set[str]:
    return {word for option in node.options for word in option.words}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("ask", [in_bash, in_fish])
def test_every_verb_and_option_is_offered_where_it_stands(name: str, ask: object, tmp_path: Path) -> None:
    assert callable(ask)
    every = list(nodes(TREES[name]))
    branches = [node for node in every if node.verbs]
    lines = [[*node.path, "-"] for node in every] + [[*node.path, ""] for node in branches]
    answers = ask(name, lines, tmp_path)
    for node, answer in zip(every, answers[: len(every)], strict=True):
        assert {word for word in answer if word.startswith("-")} == words_of(node), node.path
    for node, answer in zip(branches, answers[len(every) :], strict=True):
        assert set(answer) == {below.name for below in node.verbs}, node.path


@pytest.mark.parametrize("ask", [in_bash, in_fish])
def test_values_are_offered_after_their_option_and_in_their_place(ask: object, tmp_path: Path) -> None:
    assert callable(ask)
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "folder").mkdir()
    answers = ask(
        "tlsrt",
        [
            ["tlsrt", "events", "--kind", "se"], ["tlsrt", "--json", "--timeout", "5", "ev"],
            ["tlsrt", "put", "ph"], ["tlsrt", "put", "photo.jpg", ""], ["tlsrt", "get", "third/io/x", "ph"],
            ["tlsrt", "--bundle", "ph"], ["tlsrt", "completion", ""], ["tlsrt", "call", ""],
        ],
        tmp_path,
    )  # fmt: skip
    assert [sorted(answer) for answer in answers] == [
        ["security", "session"], ["events"], ["photo.jpg"], [], ["photo.jpg"], ["photo.jpg"], sorted(SCRIPTS), [],
    ]  # fmt: skip
    lines = [["tlsrt-supervisor", "revoke", "c"], ["tlsrt-supervisor", "init", "f"]]
    verbs, folders = ask("tlsrt-supervisor", lines, tmp_path)
    assert set(verbs) == {"client", "component"}
    assert [folder.rstrip("/") for folder in folders] == ["folder"]


def test_bash_takes_an_address_and_a_value_behind_an_equals_sign_for_one_word(tmp_path: Path) -> None:
    answers = in_bash(
        "tlsrt",
        [["tlsrt", "--address", "::1", ":", "7443", "who"], ["tlsrt", "events", "--kind", "=", "he"]],
        tmp_path,
    )
    assert answers == [["whoami"], ["health"]]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_person_presses_tab(shell: str, tmp_path: Path) -> None:
    """At a terminal: what was typed with tabs is what the command gets."""
    program = tmp_path / "tlsrt-supervisor"
    program.write_text('#!/bin/sh\nprintf "RAN:%s:\\n" "$*"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(script_of(shell, COMMANDS["tlsrt-supervisor"]))
    options = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
    begin = {"bash": "", "zsh": f"autoload -U compinit; compinit -u -d {tmp_path}/dump; "}[shell]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "PS1": "", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [need(shell), *options], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        os.write(ours, f"{begin}source ./script; echo LOADED$((1+1))\n".encode())
        read_until(ours, b"LOADED2")
        os.write(ours, b"tlsrt-supervisor sandb\tex\t third --js\t --config scr\t\n")
        read_until(ours, b"RAN:sandbox explain third --json --config script:")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, wanted: bytes) -> None:
    shown = b""
    limit = time.monotonic() + 30
    while wanted not in shown:
        assert select.select([descriptor], [], [], max(0, limit - time.monotonic()))[0], shown
        shown += os.read(descriptor, 65536)


@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize("module", ["tlsrt.channels.cli.main", "tlsrt.supervisor.cli.main"])
def test_the_commands_print_a_script_that_the_shell_can_read(shell: str, module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "completion", shell], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
    read = subprocess.run([need(shell), "-n"], input=done.stdout, capture_output=True, timeout=30)
    assert (read.returncode, read.stderr) == (0, b"")


def test_a_shell_that_is_not_known_is_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tlsrt.channels.cli.main", "completion", "csh"], capture_output=True, timeout=30
    )
    assert done.returncode == 64 and b"csh" in done.stderr
