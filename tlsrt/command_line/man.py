"""A manual page of a command, made of its table of verbs: man(7). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tlsrt.command_line.table import Command
from tlsrt.command_line.tree import CommandNode, CompletionOption, Value, node_of, nodes

_STEERS = re.compile(r"^([.'])", re.M)  # at the begin of a line: a request of roff


def man_page(command: Command, section: int, version: str, others: Iterable[str]) -> str:
    """Return the page of a command; `others` are the pages to see also, such as "tlsrt(1)"."""
    top = node_of(command)
    everywhere = {option.words for option in top.options}
    lines = [
        f".TH {top.name.upper()} {section} \"\" \"tlsrt {version}\" \"tlsrt\"",
        ".SH NAME", f"{_text(top.name)} \\- {_text(command.text[:1].lower() + command.text[1:].rstrip('.'))}",
        ".SH SYNOPSIS", f".B {_text(top.name)}", "[\\fIOPTION\\fR]... \\fIVERB\\fR ...",
        ".SH DESCRIPTION", _text(command.text),
        ".SH OPTIONS", "These may stand before and after every verb.", *_options(top.options),
        ".SH VERBS",
    ]  # fmt: skip
    for node in nodes(top):
        if node is not top and not node.verbs:
            lines += _verb(node, everywhere)
    lines += [".SH EXIT STATUS", ".nf", _text(command.epilog.partition("\n")[2]), ".fi"]
    lines += [".SH SEE ALSO", ", ".join(map(_page, others)) + "."]
    return "\n".join(lines) + "\n"


def _verb(node: CommandNode, everywhere: set[tuple[str, ...]]) -> Iterator[str]:
    usage = "".join(f" {_value(value)}" for value in node.values)
    yield f'.SS "{_text(" ".join(node.path[1:]))}{usage}"'
    yield _text(node.text[:1].upper() + node.text[1:].rstrip(".") + ".")
    for value in node.values:
        yield from (".TP", _value(value), _text(value.text))
    yield from _options(option for option in node.options if option.words not in everywhere)


def _options(options: Iterable[CompletionOption]) -> Iterator[str]:
    for option in options:
        words = ", ".join(f"\\fB{_text(word)}\\fR" for word in option.words)
        taken = f" {_value(option.value)}" if option.value is not None else ""
        yield from (".TP", words + taken, _text(option.text))


def _value(value: Value) -> str:
    text = "|".join(map(_text, value.choices)) if value.choices else f"\\fI{_text(value.name)}\\fR"
    text += " ..." if value.is_repeated else ""
    return f"[{text}]" if value.is_optional else text


def _page(name: str) -> str:
    return re.sub(r"^(.*)(\(\d\))$", r"\\fB\1\\fR\2", _text(name))


def _text(text: str) -> str:
    """Return words as they are, for roff: no request, no escape, and hyphens that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    escaped = escaped.replace("`", "\\(ga").replace("~", "\\(ti").replace("^", "\\(ha")
    return _STEERS.sub(r"\\&\1", escaped)
