"""What the supervisor opens for a collector: its addresses, a socket to one of them, and its files."""

from __future__ import annotations

import ipaddress
import os
import socket

from tlsrt.config.collectors import Collector
from tlsrt.config.files import open_regular
from tlsrt.errors import ConfigError
from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.supervisor.process.memfd import file_in_memory

_PEM_MAX = 1 << 20


def addresses_of(collector: Collector, pins: NamePins) -> list[str]:
    """Return the addresses that a collector has now: its own one, or those that its name has and its rule allows."""
    rule = collector.rule
    if rule is None:
        return [collector.host]
    allowed = [one for one in pins.all().get(rule.name, ()) if rule.may_be(one)]
    return [str(ipaddress.ip_address(one)) for one in sorted(allowed, key=lambda one: (len(one), one))]


def connecting_socket(address: str, port: int) -> int:
    """Return a socket that is connected to a collector, or being so. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as made:
        try:
            made.connect((address, port))
        except BlockingIOError:
            pass
        return made.detach()


def files_of(collector: Collector) -> tuple[int, int, int]:
    """Return its CA, a certificate and its key as sealed memory, empty for those that it has not.

    Their bytes are copied by the kernel: the supervisor reads no key. Raises ConfigError and OSError.
    """
    opened: list[int] = []
    try:
        for path in (collector.ca, collector.certificate, collector.key):
            source = open_regular(path, f"a file of {collector.kind}") if path is not None else -1
            try:
                opened.append(file_in_memory(source, _PEM_MAX))
            finally:
                if source >= 0:
                    os.close(source)
    except (ConfigError, OSError):
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened[0], opened[1], opened[2]


def marks_of(collector: Collector) -> tuple[tuple[int, ...], ...]:
    """Return what tells whether its files are the same as before. Raises OSError."""
    found = [os.stat(path) for path in (collector.ca, collector.certificate, collector.key) if path is not None]
    return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
