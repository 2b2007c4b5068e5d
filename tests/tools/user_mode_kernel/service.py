"""A service of a systemd that boots in a user-mode kernel: installs tlsrt as a service, with real controllers.

It does so twice: as root, and, of the same configuration, as the user whom `install` makes if none is named.
Everything is written as one document of JSON for the test outside, which judges it.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

OUT = Path("/mnt")  # a folder of the test's
CONFIG = Path("/etc/tlsrt/tlsrt.yaml")
MORE = """
loops: {third.bomb: {memory_mb: 96}}
components: {third/bomb: {class: "bomb:Bomb"}}
policy: {"client/admin -> third/bomb": "*"}
"""
DROP_IN = "[Service]\nWatchdogSec=120s\nTimeoutStartSec=300s\n"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def do(*words: str) -> str:
    done = run(*words)
    assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return run("tlsrt", "--bundle", "/etc/tlsrt/admin.tlsrt", "call", *words)


def events(name: str, since: float) -> list[dict[str, Any]]:
    words = ("-q", "--no-pager", "-o", "json", "-u", "tlsrt", f"--since=@{since:.6f}", f"TLSRT_EVENT={name}")
    return [json.loads(line) for line in do("journalctl", *words).splitlines()]


def prepare() -> None:
    for name in (".pwd.lock", "shadow", "gshadow"):  # those of this machine, which the kernel's user may not read
        Path("/etc", name).unlink(missing_ok=True)
    do("tlsrt-supervisor", "init", "--system")
    folder = CONFIG.with_name("tlsrt.yaml.d")
    folder.mkdir(exist_ok=True)
    (folder / "20.yaml").write_text(MORE)
    do("tlsrt-supervisor", "seal")
    slow = Path("/etc/systemd/system/tlsrt.service.d/slow.conf")
    slow.parent.mkdir(parents=True)
    slow.write_text(DROP_IN)


def try_as(user: str, found: dict[str, Any]) -> None:
    """Let tlsrt run as a user, and a component of it take more memory than it may."""
    began, since = time.monotonic(), time.time()
    found["install"] = do("tlsrt-supervisor", "install", *(["--user", user] if user == "root" else []), "--now")
    found["started_s"] = round(time.monotonic() - began, 1)
    main = do("systemctl", "show", "-P", "MainPID", "tlsrt").strip()
    found["uid"] = Path(f"/proc/{main}").stat().st_uid
    found["status"] = do("tlsrt-supervisor", "status")
    status = json.loads(do("tlsrt-supervisor", "status", "--json"))
    found["limits"] = status["limits"]
    [bomb] = [one for one in status["loops"] if one["name"] == "third.bomb"]
    group = Path(f"/proc/{bomb['pid']}/cgroup").read_text().strip().partition("::")[2]
    place = Path("/sys/fs/cgroup") / group.lstrip("/")
    names = ("memory.max", "pids.max", "cpu.weight", "memory.oom.group")
    found["files"] = {name: (place / name).read_text().strip() for name in names}
    found["group"] = group
    done = call("third/bomb", "take", "200")
    found["taken"] = [done.returncode, done.stderr]
    limit = time.monotonic() + 60
    while not (died := events("died", since)) and time.monotonic() < limit:
        time.sleep(0.2)
    found["died"] = [{name: entry.get(name) for name in ("MESSAGE", "TLSRT_SUBJECT", "TLSRT_CAUSE")} for entry in died]
    found["active"] = do("systemctl", "show", "-P", "ActiveState", "tlsrt").strip()
    found["restarts"] = do("systemctl", "show", "-P", "NRestarts", "tlsrt").strip()
    found["beside"] = call("primary/kernel", "uname").returncode
    found["seconds"] = round(time.monotonic() - began, 1)


def try_all(found: dict[str, Any]) -> None:
    prepare()
    for user in ("root", "tlsrt"):
        found[user] = {}
        try_as(user, found[user])


def main() -> None:
    found: dict[str, Any] = {}
    try:
        try_all(found)
    except BaseException as error:
        found["error"] = f"{type(error).__name__}: {error}"
        found["journal"] = run("journalctl", "--no-pager", "-n", "80", "-o", "cat").stdout
    (OUT / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
