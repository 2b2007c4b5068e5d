"""A command that runs with less than the host has: an outer filter refuses system calls, capabilities are gone.

    InstalledHost(environment, folder, prefix=deprived(environment, deny={"unshare": errno.EPERM}))

As a container does it: the filter is put on by a process that then executes the command, which inherits it. The text
below runs in the installed interpreter, so that a user who cannot read the checkout can run it too.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping

from hosts.installation import Environment

# linux/capability.h
CAPABILITIES = {
    "chown": 0, "setgid": 6, "setuid": 7, "setpcap": 8, "net_admin": 12, "sys_ptrace": 19, "sys_admin": 21,
    "sys_resource": 24, "setfcap": 31,
}  # fmt: skip

# What the default profile of container engines forbids without CAP_SYS_ADMIN, of what concerns us.
CONTAINER = {
    "unshare": errno.EPERM, "setns": errno.EPERM, "mount": errno.EPERM, "umount2": errno.EPERM,
    "pivot_root": errno.EPERM, "open_tree": errno.EPERM, "move_mount": errno.EPERM, "mount_setattr": errno.EPERM,
    "clone3": errno.ENOSYS,
}  # fmt: skip

_TEXT = """
import json, os, sys
from tlsrt.sandbox.seccomp import bpf
from tlsrt.sandbox.seccomp import install
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
what = json.loads(sys.argv[1])
if what["ids"]:  # a container's root: a helper that is still outside gives us a range of ids
    ready, say = os.pipe()
    done, tell = os.pipe()
    if os.fork() == 0:
        os.read(ready, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{os.getppid()}/{name}", "w") as file:
                file.write(f"0 0 {what['ids']}")
        os.write(tell, b".")
        os._exit(0)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.write(say, b".")
    os.read(done, 1)
    os.wait()
    for descriptor in (ready, say, done, tell):
        os.close(descriptor)
if what["namespace"]:
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    for name in what["namespace"]:
        with open(f"/proc/sys/user/max_{name}_namespaces", "w") as file:
            file.write("0")
for capability in what["drop"]:
    syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
if what["deny"]:
    numbers = NUMBERS[os.uname().machine]
    rules = {
        numbers[name]: bpf.Rule((), bpf.KILL_PROCESS if number == 0 else bpf.errno_action(number))
        for name, number in what["deny"].items()
    }
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    install.install(bpf.assemble(os.uname().machine, rules, bpf.ALLOW))
os.execv(sys.argv[2], sys.argv[2:])
"""


def deprived(
    environment: Environment, *, deny: Mapping[str, int] | None = None, drop: Iterable[str] = (),
    namespace: Iterable[str] = (), ids: int = 0,
) -> list[str]:  # fmt: skip
    """Return the words to put before a command.

    `deny` maps system calls to the errno that the outer filter answers, 0 to kill; `drop` names capabilities;
    `namespace` names kinds of namespaces of which none can be made, in a user namespace of its own. `ids` is how many
    uids and gids exist, from 0, in a user namespace that root outside makes.
    """
    what: dict[str, object] = {
        "deny": dict(deny or {}),
        "drop": [CAPABILITIES[name] for name in drop],
        "namespace": list(namespace),
    }
    what["ids"] = ids
    return [str(environment.program("python")), "-I", "-B", "-c", _TEXT, json.dumps(what)]
