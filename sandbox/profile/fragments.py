"""Parts: one file of `profiles/` each, or what the configuration asks for. What they extend, their lines, their calls.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from tlsrt.errors import SandboxError
from tlsrt.sandbox.profile.entries import LINE_SECTIONS, SECTIONS, parse_limit, parse_paths, parse_rules, wrong
from tlsrt.sandbox.profile.forbidden import parse_never
from tlsrt.sandbox.profile.policy import LISTS, PolicyFragment, parse_entry

Parsed = TypeVar("Parsed")


def parse_part(name: str, document: Any) -> PolicyFragment:
    """Return the part in a document as YAML gives it. Raises SandboxError naming part, section and entry."""
    if not isinstance(document, dict) or not isinstance(document.get("about"), str):
        raise wrong(name, "it must be a map with the text `about`")
    if unknown := sorted(set(document) - {"about", "extends", "never", *SECTIONS, *LISTS}):
        raise wrong(name, f"{unknown[0]} has no meaning")
    for section in document:
        if section != "about" and not isinstance(document[section], list):
            raise wrong(name, f"`{section}` must be a list")
    extends = document.get("extends", [])
    if not all(isinstance(one, str) for one in extends):
        raise wrong(name, "`extends` must be a list of names")
    return PolicyFragment(
        name,
        " ".join(document["about"].split()),
        tuple(extends),
        {kind: _each(name, kind, document, partial(parse_entry, name, kind)) for kind in LISTS},
        {kind: _each(name, kind, document, partial(parse_paths, name, kind)) for kind in LINE_SECTIONS},
        _each(name, "egress", document, partial(parse_rules, name)),
        _each(name, "limits", document, partial(parse_limit, name)),
        _each(name, "never", document, partial(parse_never, name)),
    )


def _each(name: str, section: str, document: dict[str, Any], parse: Callable[[Any], Parsed]) -> tuple[Parsed, ...]:
    """Return the parsed entries of a section; what is wrong with one gets its number."""
    found: list[Parsed] = []
    for number, entry in enumerate(document.get(section, ()), 1):
        try:
            found.append(parse(entry))
        except SandboxError as error:
            sentence = error.reason.removeprefix(f"profile {name}: ")
            raise wrong(name, f"entry {number} of `{section}`: {sentence}") from None
    return tuple(found)
