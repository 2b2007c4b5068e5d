"""Write the seccomp profile of the container: the system calls that the unit of systemd allows, and no others.

    python distribution/container/profile.py > distribution/container/seccomp.json

systemd-analyze says which calls are in a group such as @system-service. What is not listed is not implemented (ENOSYS),
as under the unit: libraries go on without it. An engine's own default refuses what makes namespaces and mounts, which
is what the sandbox of tlsrt consists of; the processes inside forbid themselves far more than this file does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from share import use_rooms

_ENGINE = ("arch_prctl", "close_range", "execve", "exit_group")  # what the engine itself needs to begin
_ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64")


def _calls(word: str) -> Iterator[str]:
    """Yield the calls of a group, or a call."""
    if not word.startswith("@"):
        yield word
        return
    command = ["systemd-analyze", "syscall-filter", "--no-pager", word]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    for line in (line.strip() for line in listed):
        if line and not line.startswith("#"):
            yield from _calls(line)


def allowed() -> list[str]:
    """Return the calls that the unit allows."""
    use_rooms()
    from tlsrt.supervisor.cli.service.packaged import packaged_files

    [unit] = [file.text or "" for file in packaged_files() if file.path.suffix == ".service"]
    found: set[str] = {*_ENGINE}
    for line in unit.splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.removeprefix("SystemCallFilter=")
            calls = {call for word in words.removeprefix("~").split() for call in _calls(word)}
            found = found - calls if words.startswith("~") else found | calls
    return sorted(found)


if __name__ == "__main__":
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": list(_ARCHITECTURES),
        "syscalls": [{"names": allowed(), "action": "SCMP_ACT_ALLOW"}],
    }
    print(json.dumps(profile, indent=1))
