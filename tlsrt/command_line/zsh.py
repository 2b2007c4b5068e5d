"""Completion for zsh, with the help of every verb and option beside it."""

from __future__ import annotations

from tlsrt.command_line.tree import CommandNode, CompletionOption, Value, nodes

_HEAD = """\
#compdef {command}
# zsh completion for {command}; made by `{command} completion zsh`
"""
_LEAF = """
{function}() {{
    _arguments -s {specifications}
}}
"""
_BRANCH = """
{function}() {{
    local context state state_descr line curcontext=$curcontext
    typeset -A opt_args
    _arguments -C -s {specifications} \\
        ': :->verb' '*:: :->rest'
    case $state in
        verb)
            local -a verbs=(
{verbs}
            )
            _describe -t verbs verb verbs
            ;;
        rest)
            case $line[1] in
{calls}
            esac
            ;;
    esac
}}
"""
_TAIL = """
if [[ $funcstack[1] == {function} ]]; then  # autoloaded, from a folder of fpath
    {function} "$@"
else  # sourced
    compdef {function} {command}
fi
"""
_KINDS = {"file": "_files", "folder": "_files -/", "": "()"}


def zsh_script(tree: CommandNode) -> str:
    """Return the script for a command."""
    text = _HEAD.format(command=tree.name)
    for node in nodes(tree):
        specifications = [_option(option) for option in node.options]
        if node.verbs:
            verbs = "\n".join(f"                {_quoted(_described(below))}" for below in node.verbs)
            calls = "\n".join(f"                {below.name}) {_function(below)} ;;" for below in node.verbs)
            shape = _BRANCH
        else:
            verbs = calls = ""
            shape = _LEAF
            specifications += [_value(value) for value in node.values]
        lines = "".join(f" \\\n        {each}" for each in specifications)
        text += shape.format(function=_function(node), specifications=lines, verbs=verbs, calls=calls)
    return text + _TAIL.format(function=_function(tree), command=tree.name)


def _function(node: CommandNode) -> str:
    return "_" + "_".join(node.path).replace("-", "_")


def _described(node: CommandNode) -> str:
    return f"{node.name}:{node.text}"  # only the first colon counts


def _option(option: CompletionOption) -> str:
    text = option.text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    rest = f"[{text}]" + (_action(option.value) if option.value else "")
    words = [word + (("=" if word.startswith("--") else "+") if option.value else "") for word in option.words]
    if len(words) == 1:
        return f"{words[0]}{_quoted(rest)}"
    return f"{_quoted('(' + ' '.join(option.words) + ')')}{{{','.join(words)}}}{_quoted(rest)}"


def _value(value: Value) -> str:
    return _quoted(f"{'*' if value.is_repeated else ''}{_action(value)}")


def _action(value: Value) -> str:
    action = f"({' '.join(value.choices)})" if value.choices else _KINDS[value.kind]
    return f":{value.name}:{action}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
