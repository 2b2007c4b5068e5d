"""Both commands as Markdown, from their tables of verbs."""

from __future__ import annotations

from tlsrt.channels.cli.verbs import COMMAND as CLIENT
from tlsrt.command_line.tree import CommandNode, CompletionOption, Value, node_of, nodes
from tlsrt.supervisor.cli.verbs import COMMAND as SUPERVISOR
from tools.reference.markdown import code, table


def supervisor() -> str:
    return _command(node_of(SUPERVISOR))


def client() -> str:
    return _command(node_of(CLIENT))


def _command(top: CommandNode) -> str:
    verbs = [node for node in nodes(top) if node is not top and not node.verbs]
    everywhere = {option.words for option in top.options}
    index = table(("verb", "what it does"), [(f"[{_name(node)}](#{_anchor(node)})", node.text) for node in verbs])
    parts = [f"## Options of every verb\n\n{_options(list(top.options))}" if top.options else "", index]
    for node in verbs:
        own = [option for option in node.options if option.words not in everywhere and "--help" not in option.words]
        usage = " ".join((*node.path, *map(_argument, node.values)))
        parts.append(f"## {_name(node)}\n\n{_sentence(node.text)}\n\n```text\n{usage}\n```")
        if node.values:
            parts.append(table(("argument", "what it is"), [(code(value.name), value.text) for value in node.values]))
        if own:
            parts.append(_options(own))
    return "\n\n".join(part for part in parts if part)


def _name(node: CommandNode) -> str:
    return " ".join(node.path[1:])


def _anchor(node: CommandNode) -> str:
    return "-".join(node.path[1:])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def _value(value: Value) -> str:
    text = "|".join(value.choices) if value.choices else value.name
    return f"{text} ..." if value.is_repeated else text


def _argument(value: Value) -> str:
    return f"[{_value(value)}]" if value.is_optional else _value(value)


def _options(options: list[CompletionOption]) -> str:
    def words(option: CompletionOption) -> str:
        taken = f" {_value(option.value)}" if option.value is not None else ""
        return code(", ".join(option.words) + taken)

    return table(("option", "what it does"), [(words(option), option.text) for option in options])
