"""Variables of the environment in a configuration: `${TLSRT_NAME}`, for names that the configuration lists. Pure.

The list says why each is there, and the measurement has the value of each: another value is another configuration. Only
what begins with TLSRT_ reaches the runtime, and every loop can read it, so no secret may come this way. A value takes
the place of words in one scalar after the YAML was read: it is never a key, a list or a second line.

`$${` stands for `${` itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from tlsrt.config.config_drop_ins import MAIN_ONLY
from tlsrt.config.setting import VARIABLE_NAME
from tlsrt.config.validation import ALIAS, VARIABLE
from tlsrt.config.yaml_nodes import Problems, YamlNode
from tlsrt.text import did_you_mean

KEY = "environment"
PREFIX = "environment/"  # of their names in a measurement
REFERENCE = re.compile(r"(\$+)\{")
_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\}")
_VALUE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,1024}")
_SECRET = frozenset({
    "PASSWORD", "PASSWD", "PASSPHRASE", "PASS", "PIN", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "CREDENTIALS", "PRIVATE",
})  # fmt: skip


class Listed(NamedTuple):
    """A variable that a configuration lists: its value, or why it has none."""

    value: str
    wrong: str = ""


def put_in(root: YamlNode, environment: Mapping[str, str], problems: Problems) -> dict[str, str]:
    """Put the values of variables into a document, and return those that it lists."""
    listed = _listed(root, environment, problems)
    for key, value in root.pairs or ():
        _put(value, key.text if key.text in (*MAIN_ONLY, KEY) else "", listed, problems)
    return {name: one.value for name, one in listed.items() if not one.wrong}


def put_values(root: YamlNode, variables: Mapping[str, str], fixed: Collection[str], problems: Problems) -> None:
    """Put the values of listed variables into another file of the same configuration, but not below `fixed` keys."""
    listed = {name: Listed(value) for name, value in variables.items()}
    for key, value in root.pairs or ():
        _put(value, key.text if key.text in fixed else "", listed, problems)


def variable_digests(variables: Mapping[str, str]) -> dict[str, bytes]:
    """Return the variables of a configuration as a measurement has them."""
    return {
        f"{PREFIX}{name}": hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
        for name, value in variables.items()
    }


def _listed(root: YamlNode, environment: Mapping[str, str], problems: Problems) -> dict[str, Listed]:
    found: dict[str, Listed] = {}
    table = next((value for key, value in root.pairs or () if key.text == KEY), None)
    for key, _ in table.pairs or () if table is not None else ():
        name = key.text
        if not re.fullmatch(VARIABLE_NAME, name):
            continue  # which the check of the table says
        found[name] = _value(name, environment)
        if found[name].wrong:
            problems.add(key.line, key.column, found[name].wrong)
    return found


def _value(name: str, environment: Mapping[str, str]) -> Listed:
    if _SECRET & {*name.split("_")}:
        return Listed("", f"{name} seems a secret, which every loop could read: use `tlsrt-supervisor secret set`")
    if name not in environment:
        return Listed("", f"the environment has no {name}: set it for the service and for this command, or remove it")
    value = environment[name]
    if not _VALUE.fullmatch(value) or not value.isprintable():
        return Listed("", f"{name} is not one line of at most 1024 printable characters: set another value")
    return Listed(value)


def _put(node: YamlNode, fixed: str, listed: Mapping[str, Listed], problems: Problems) -> None:
    for item in node.items or ():
        _put(item, fixed, listed, problems)
    for _, value in node.pairs or ():
        _put(value, fixed, listed, problems)
    if node.kind != "scalar" or node.tag != "str" or "${" not in node.text:
        return
    if fixed:
        problems.add(node.line, node.column, f"no variable can stand in {fixed}: write the value here")
        return
    found = _replaced(node, listed, problems)
    if found is None:
        node.tag = ALIAS  # as a scalar whose problem is known
        return
    node.said, (node.text, is_whole) = node.text, found
    node.tag = VARIABLE if is_whole else "str"


def _replaced(node: YamlNode, listed: Mapping[str, Listed], problems: Problems) -> tuple[str, bool] | None:
    """Return the text with values in it, and whether it is one value and no more; None after a problem."""
    made, at, is_whole = "", 0, False
    for match in REFERENCE.finditer(node.text):
        made += node.text[at : match.start()]
        at = match.end()
        if len(match[1]) > 1:
            made += f"{match[1][1:]}{{"
            continue
        named = _NAMED.match(node.text, at)
        one = listed.get(named[1]) if named else None
        if named is None or one is None:
            problems.add(node.line, node.column, _unknown(named[1] if named else "", listed))
            return None
        if one.wrong:
            return None  # which was said at its name
        is_whole = match.start() == 0 and named.end() == len(node.text)
        made, at = made + one.value, named.end()
    return made + node.text[at:], is_whole


def _unknown(name: str, listed: Mapping[str, Listed]) -> str:
    literally = "write $${ for the text itself"
    if not name:
        return f"${{ is not followed by the name of a variable and }}: {literally}"
    hint = did_you_mean(name, listed)
    return f"{name} is not in the list `{KEY}`: add it there with its reason, or {literally}{hint}"
