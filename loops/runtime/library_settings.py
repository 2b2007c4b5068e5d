"""What libraries find when they are imported in a component's process: threads, listeners, names, other libraries.

OpenBLAS, which numpy and scipy bring, starts a thread for each further processor when its library is loaded. That is
before the seal, where a process is one thread, so without a word to it `import numpy` would fail on every machine with
two processors. The threads of OpenMP begin when they are used, and take what the component has asked for.
"""

from __future__ import annotations

import ctypes.util
import os
import platform
import re
import socket
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from ipaddress import IPv6Interface, ip_interface
from typing import Any

from tlsrt.config.listeners import Interface
from tlsrt.loops.runtime.bound_listeners import BoundListeners, Inherited
from tlsrt.loops.runtime.named_datagrams import connecting_first
from tlsrt.loops.runtime.resolver import prepare_outbound
from tlsrt.sandbox.apply.outside_uid import tell_outside_uid
from tlsrt.sandbox.profile.profile import Profile


def thread_environment(threads: int) -> Mapping[str, str]:
    """Return the variables for a process whose components have asked for so many threads. Pure."""
    return {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": str(max(threads, 1)),
        "TOKENIZERS_PARALLELISM": "true" if threads else "false",
    }


def prepare_libraries(profile: Profile, listeners: Sequence[Inherited]) -> None:
    """Set all of it, in the process and before the import of components."""
    if profile.has_sockets:
        prepare_outbound(profile.egress)
    os.environ.update(thread_environment(profile.threads))
    ctypes.util.find_library = find_library
    _ask_no_program()
    tell_outside_uid()
    reaches_hosts = bool(profile.egress or profile.names)
    makes_sockets = profile.network or reaches_hosts or not profile.is_watched
    BoundListeners(listeners, makes_sockets=bool(makes_sockets)).install()
    if reaches_hosts and profile.is_watched:
        granted = {one.descriptor for one in listeners if one.asked.protocol == "udp"}
        stand_in = connecting_first(socket.socket.sendto, granted)
        setattr(socket.socket, "sendto", stand_in)  # noqa: B010 - mypy wants no method assigned


def _ask_no_program() -> None:
    """Have `platform` run neither `uname -p` nor `file`, for the processor and the architecture: it does without."""
    known: Any = platform
    known._Processor.from_subprocess = staticmethod(lambda: "")
    known._syscmd_file = lambda target, default="": default


@cache  # so that it knows after the seal what it was asked before
def find_library(name: str) -> str | None:
    """Return the file name of a library in C, as `ctypes.util.find_library` does, by looking into the folders.

    That runs ldconfig, gcc and ld, and no component starts a program. What is found is loaded by the loader, which
    looks into the same folders.
    """
    wanted = re.compile(rf"lib{re.escape(name)}\.so(\.\d+)*")
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in (f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/lib64", "/usr/lib", "/lib"):
        try:
            found = [one for one in os.listdir(folder) if wanted.fullmatch(one)]
        except OSError:
            continue
        if found:  # the name that programs are linked with: libudev.so.1, of libudev.so and libudev.so.1.7.10
            return min(found, key=lambda one: (abs(one.count(".") - 2), one))
    return None


def tell_ifaddr(interfaces: Iterable[Interface]) -> None:
    """Have `ifaddr`, if a component has imported it, find the interfaces of the groups: the process sees no other.

    zeroconf and others ask it for all interfaces, and it would ask the kernel, whose answer is an empty namespace.
    """
    known = {one.index: one for one in interfaces}
    module: Any = sys.modules.get("ifaddr")
    if module is None or not known:
        return

    def adapter(one: Interface) -> Any:
        networks = [ip_interface(text) for text in one.addresses]
        ips = [
            (str(own.ip), 0, one.index if own.is_link_local else 0) if isinstance(own, IPv6Interface) else str(own.ip)
            for own in networks
        ]
        found = [module.IP(ip, own.network.prefixlen, one.name) for ip, own in zip(ips, networks, strict=True)]
        return module.Adapter(one.name, one.name, found, index=one.index)

    def get_adapters(include_unconfigured: bool = False) -> list[Any]:
        return [adapter(one) for one in known.values() if one.addresses or include_unconfigured]

    module.get_adapters = get_adapters
