"""Completion for fish 3 and newer, with the help of every verb and option beside it."""

from __future__ import annotations

from collections.abc import Iterable

from tlsrt.command_line.tree import CommandNode, CompletionOption, Value, nodes

_HEAD = """\
# fish completion for {command}; made by `{command} completion fish`

function {function} --description 'whether the command line is at VERB..., and at its argument NUMBER'
    set -l path {command}
    set -l place 0
    set -l pending 0
    for word in (commandline -opc)[2..]
        if test $pending = 1
            set pending 0
        else if string match -q -- '-*' $word
            contains -- "$path $word" {takers}; and set pending 1
        else if contains -- "$path $word" {verbs}
            set path "$path $word"
            set place 0
        else
            set place (math $place + 1)
        end
    end
    test "$path" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    test "$argv[2]" = any -o "$argv[2]" = "$place"
end

complete -c {command} -f
"""


def fish_script(tree: CommandNode) -> str:
    """Return the script for a command."""
    function = "__" + tree.name.replace("-", "_") + "_at"
    every = list(nodes(tree))
    takers = (
        f"{' '.join(node.path)} {word}"
        for node in every for option in node.options if option.value for word in option.words
    )  # fmt: skip
    lines = [
        f"complete -c {tree.name} {words}" for node in every for words in _of(node, function)
    ]  # fmt: skip
    head = _HEAD.format(
        command=tree.name,
        function=function,
        takers=_all(takers),
        verbs=_all(" ".join(below.path) for node in every for below in node.verbs),
    )
    return head + "\n".join(lines) + "\n"


def _of(node: CommandNode, function: str) -> list[str]:
    at = f'{function} "{" ".join(node.path)}"'
    lines = [f"-n {_quoted(at + ' 0')} -a {below.name} -d {_quoted(below.text)}" for below in node.verbs]
    lines += [f"-n {_quoted(at)} {_option(option)}" for option in node.options]
    for number, value in enumerate(node.values):
        offer = _offer(value)
        if offer:
            lines.append(f"-n {_quoted(at + (' any' if value.is_repeated else f' {number}'))} {offer}")
    return lines


def _option(option: CompletionOption) -> str:
    words = " ".join(f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" for word in option.words)
    takes = "" if option.value is None else f" {'-r' if option.value.kind else '-x'} {_offer(option.value)}".rstrip()
    return f"{words}{takes} -d {_quoted(option.text)}"


def _offer(value: Value) -> str:
    if value.choices:
        return f"-a {_quoted(' '.join(value.choices))}"
    if value.kind == "folder":
        return "-a '(__fish_complete_directories)'"
    return "-F" if value.kind else ""


def _all(words: Iterable[str]) -> str:
    return " ".join(map(_quoted, words)) or "''"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
