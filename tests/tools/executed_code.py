"""`make executed-code`: write which functions the processes of a host execute, for `gathered_code`.

A real host runs with services that are off by default and a component that can tell what the children of the fork
server execute (Python 3.12 or later), from their forks until calls and streams were served for some seconds. What most
of them execute comes first, and what the same ones execute stands together, so that it lies together in memory.
"""

from __future__ import annotations

import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import hosts.executed_package.executed as executed
from hosts.running_host import RunningHost

from tlsrt.supervisor.process.gathered_code import LIST

ADDRESS = "third/executed"
SERVICES: dict[str, tuple[str, ...]] = {
    "secondary/secrets": (), "secondary/config": ("--option=documents={house: {fields: {level: {type: int}}}}",),
    "secondary/updates": (), "third/notify": (), "third/camera": ("--option=sources={pattern: {pattern: true}}",),
    "external/configuration": ("--option=interfaces={}",),
    "external/firewall": ("--option=input={policy: accept, rules: []}",),
}  # fmt: skip
SERVED_S = 5.0
HEAD = "# What the processes of a host execute: what most do first. Written by `make executed-code`.\n"


def executed_functions() -> list[tuple[str, str]]:
    """Return (module, qualified name) of what was executed, in the order in which it is to lie."""
    with RunningHost(
        components={ADDRESS: {"class": "executed:Executed"}},
        policy={f"client/admin -> {ADDRESS}": "*"},
        packages=[Path(executed.__file__).parent],
        prelude=executed.PRELUDE,
    ) as host:
        for address, words in SERVICES.items():
            host.cli("component", "add", address, "--yes", *words)  # one that a machine cannot have is left out
        host.cli("secret", "make", "secondary/secrets", "root")
        host.restart()  # so that all are forked from what is imported at a start
        client, end = host.client(), time.monotonic() + SERVED_S
        while time.monotonic() < end:
            assert client.call(ADDRESS, "echo", "text") == "text"
            assert list(client.stream(ADDRESS, "count", 20)) == [*range(20)]
            time.sleep(0.2)
        host.status()
        found: list[list[Any]] = client.call(ADDRESS, "names")
    by: dict[tuple[str, str], set[int]] = {}
    for module, name, children in found:  # a name may be that of several, as of lambdas in a row
        by.setdefault((module, name), set()).update(children)
    return sorted(by, key=lambda one: (-len(by[one]), sorted(by[one]), one))


def main() -> int:
    """Write the list."""
    found = executed_functions()
    lines = [
        f"{module} {' '.join(name for _, name in pairs)}\n" for module, pairs in groupby(found, key=lambda one: one[0])
    ]
    LIST.write_text(HEAD + "".join(lines), encoding="ascii")
    print(f"{len(found)} functions in {len(lines)} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
