"""`make executed-code`: write which functions the process of a component executes, for `gathered_code`.

A real host runs with a component that notes what its process executes (Python 3.12 or later), from its begin until it
has served calls and streams for some seconds.
"""

from __future__ import annotations

import sys
import time
from itertools import groupby
from pathlib import Path

import hosts.executed_package.executed as executed
from hosts.running_host import RunningHost

from tlsrt.supervisor.process.gathered_code import LIST

ADDRESS = "third/executed"
SERVED_S = 5.0
HEAD = "# What the process of a component executes, by module. Written by `make executed-code`.\n"


def executed_names() -> list[tuple[str, str]]:
    """Return (module, qualified name) of what was executed, sorted."""
    with RunningHost(
        components={ADDRESS: {"class": "executed:Executed"}},
        policy={f"client/admin -> {ADDRESS}": "*"},
        packages=[Path(executed.__file__).parent],
        prelude=executed.PRELUDE,
    ) as host:
        client, end = host.client(), time.monotonic() + SERVED_S
        while time.monotonic() < end:
            assert client.call(ADDRESS, "echo", "text") == "text"
            assert list(client.stream(ADDRESS, "count", 20)) == [*range(20)]
            time.sleep(0.2)
        host.status()
        names: list[str] = client.call(ADDRESS, "names")
    pairs = (line.split(" ", 1) for line in names)
    return sorted((module, name) for module, name in pairs if module != "executed")


def main() -> int:
    """Write the list."""
    found = executed_names()
    lines = [
        f"{module} {' '.join(name for _, name in pairs)}\n" for module, pairs in groupby(found, key=lambda one: one[0])
    ]
    LIST.write_text(HEAD + "".join(lines), encoding="ascii")
    print(f"{len(found)} functions of {len(lines)} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
