"""Completion for bash 4 and newer; works with and without the package bash-completion."""

from __future__ import annotations

from collections.abc import Iterable

from tlsrt.command_line.tree import CommandNode, Value, nodes

_SCRIPT = """\
# bash completion for {command}; made by `{command} completion bash`
{function}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} path={command} option= place=0 words= kind= index word
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${{COMP_WORDS[index]}}
        if [[ $word == "=" ]]; then  # bash splits --option=value at it
            continue
        elif [[ $word == ":" ]]; then  # and HOST:PORT at the colon
            ((index += 1))
        elif [[ $option ]]; then
            option=
        elif [[ $word == -* ]]; then
            case "$path $word" in
{takers}
            esac
        else
            case "$path $word" in
{verbs}
                *) ((place += 1)) ;;
            esac
        fi
    done
    [[ $current == "=" ]] && current=
    if [[ $option ]]; then
        case "$path $option" in
{option_values}
        esac
    elif [[ $current == -* ]]; then
        case $path in
{options}
        esac
    else
        case "$path $place" in
{values}
        esac
    fi
    COMPREPLY=()
    case $kind in
        file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    esac
}}
complete -F {function} {command}
"""


def bash_script(tree: CommandNode) -> str:
    """Return the script for a command."""
    every = list(nodes(tree))
    takers = [
        (f'"{_path(node)} {word}"', "option=$word")
        for node in every for option in node.options if option.value for word in option.words
    ]  # fmt: skip
    option_values = [
        (f'"{_path(node)} {word}"', _offer(option.value))
        for node in every for option in node.options if option.value for word in option.words
    ]  # fmt: skip
    return _SCRIPT.format(
        command=tree.name,
        function="_" + tree.name.replace("-", "_"),
        takers=_cases(takers, 4),
        verbs=_cases(
            [(f'"{_path(below)}"', 'path="$path $word" place=0') for node in every for below in node.verbs], 4
        ),
        option_values=_cases(option_values, 3),
        options=_cases([(f'"{_path(node)}"', _words(_option_words(node))) for node in every], 3),
        values=_cases([case for node in every for case in _value_cases(node)], 3),
    )


def _path(node: CommandNode) -> str:
    return " ".join(node.path)


def _option_words(node: CommandNode) -> list[str]:
    return [word for option in node.options for word in option.words]


def _value_cases(node: CommandNode) -> list[tuple[str, str]]:
    if node.verbs:
        return [(f'"{_path(node)} 0"', _words(below.name for below in node.verbs))]
    return [
        (f'"{_path(node)} "{"*" if value.is_repeated else number}', _offer(value))
        for number, value in enumerate(node.values)
    ]


def _offer(value: Value) -> str:
    return f"kind={value.kind}" if value.kind else _words(value.choices)


def _words(words: Iterable[str]) -> str:
    return f"words='{' '.join(words)}'"


def _cases(cases: list[tuple[str, str]], depth: int) -> str:
    indent = "    " * depth
    return "\n".join(f"{indent}{pattern}) {body} ;;" for pattern, body in cases)
