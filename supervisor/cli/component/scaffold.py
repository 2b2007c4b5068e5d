"""`tlsrt-supervisor component new`: a package with a component, its manifest and a test."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from tlsrt.config.files import as_config_error, write_new
from tlsrt.config.setting import NAME, NAME_SAYS
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.text import printable

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "A component for tlsrt"
requires-python = ">=3.11"
dependencies = ["tlsrt"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."tlsrt.components"]
{name} = "{name}"

[tool.setuptools]
packages = ["{name}"]
package-data = {{"{name}" = ["tlsrt.yaml"]}}
"""
_MANIFEST = """\
# What the component is, and what it asks for. `tlsrt-supervisor component add` shows it to the operator.
manifest: 1
component: third/{name}
class: "{name}:{kind}"
title: an example to begin with
# Whatever it needs of the host stands here, each with its reason, and is refused where it does not:
# needs:
#   egress: [{{to: ["192.0.2.7:443"], why: it asks the weather there}}]
# What the class calls of others, as `kernel = peer("primary/kernel")`, stands here, or `component add` refuses it:
# calls:
#   primary/kernel: {{methods: [uname], why: it shows the release}}
"""
_COMPONENT = '''\
"""{kind}: a component for tlsrt."""

from __future__ import annotations

from tlsrt import Component, handler


class {kind}(Component):
    """Says hello, and remembers how often."""

    async def start(self) -> None:
        self.count = 0

    @handler
    async def hello(self, name: str = "world") -> str:
        """Greet, and say how often that was done since the start."""
        self.count += 1
        return f"hello {{name}}, for the {{self.count}}. time"
'''
_TEST = """\
from tlsrt.testing import running

from {name} import {kind}


async def _greeted() -> str:
    async with running({kind}) as component:
        await component.call("hello")
        return await component.call("hello", "kettle")


def test_it_greets_and_counts() -> None:
    import asyncio

    assert asyncio.run(_greeted()) == "hello kettle, for the 2. time"
"""


def new(arguments: argparse.Namespace) -> int:
    """Write the package into a new folder of its name."""
    name: str = arguments.name
    if not re.fullmatch(NAME, name):
        raise InvalidArgument(f'"{printable(name, 60)}" is not {NAME_SAYS}')
    folder = Path(name)
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} exists, and `new` never overwrites: choose another name")
    kind = "".join(word.capitalize() for word in name.split("_"))
    files = {
        "pyproject.toml": _PYPROJECT,
        f"{name}/__init__.py": _COMPONENT,
        f"{name}/tlsrt.yaml": _MANIFEST,
        f"tests/test_{name}.py": _TEST,
    }
    for path, text in files.items():
        with as_config_error("make the folder", (folder / path).parent):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_new(folder / path, text.format(name=name, kind=kind).encode(), 0o644)
    print(f"wrote {folder}: the component is {folder}/{name}/__init__.py, what it asks for {folder}/{name}/tlsrt.yaml")
    print(f"next: tlsrt-supervisor component add ./{name}")
    return 0
