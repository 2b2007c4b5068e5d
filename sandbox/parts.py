"""Parts: one file of `profiles/` each, or what the configuration asks for. What they extend, their lines, their calls.
Pure.
"""

from __future__ import annotations

from typing import Any

from tlsrt.sandbox.lines import LINE_SECTIONS, SECTIONS, parse_limit, parse_paths, parse_rules, wrong
from tlsrt.sandbox.policy import LISTS, Part, parse_entry
from tlsrt.sandbox.refusals import parse_never


def parse_part(name: str, document: Any) -> Part:
    """Return the part in a document as YAML gives it. Raises SandboxError naming the part and the entry."""
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
    return Part(
        name,
        " ".join(document["about"].split()),
        tuple(extends),
        {kind: tuple(parse_entry(name, kind, one) for one in document.get(kind, ())) for kind in LISTS},
        {kind: tuple(parse_paths(name, kind, one) for one in document.get(kind, ())) for kind in LINE_SECTIONS},
        tuple(parse_rules(name, one) for one in document.get("egress", ())),
        tuple(parse_limit(name, one) for one in document.get("limits", ())),
        tuple(parse_never(name, one) for one in document.get("never", ())),
    )
