"""What every boot of one life is given: the files as they were sealed and measured before anything ran.

The boot token is kept as an open file, since `seal` and `rotate --master` put another one in its place, and it names
the version of master_key that belongs to it. A reload replaces token and measurement, a rotation the token. What the
door serves with is kept as the sealed memfds that an authority made of it, as the files may be half of something new by
now. Keys are opened for each boot and never read here.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from tlsrt.supervisor.process.children import HostFiles

TOKEN = 1  # among the boot files


class BootFiles:
    """The files of one life. `measurement` and `token` are descriptors, -1 before there are any."""

    def __init__(self) -> None:
        self.measurement = -1  # memfd
        self.token = -1
        self._account = -1  # the key of the account with a CA: a memfd on its way to the ACME process
        self._archive = -1  # the key of an archive: a memfd on its way to the process that writes it
        self._door: tuple[int, ...] = ()  # certificate, key, client CA, revocation lists

    @contextmanager
    def handed(self, files_in_force: HostFiles) -> Generator[tuple[int, ...]]:
        """Open what the authority is handed with `boot`, in its order; raise ConfigError and OSError."""
        files = files_in_force.open_boot_files(self.token)
        try:
            files += [os.dup(kept) for kept in self._door] or files_in_force.open_door_files()
            files.append(files_in_force.open_ca_key())
            if self.token < 0:
                self.token = os.dup(files[TOKEN])
            # The slot of the state folder: the authority opens its own, inside its root. A folder of the host would be
            # a way out of there, by "..".
            files.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            key, token, *door, folder = files
            yield key, token, self.measurement, folder, *door
        finally:
            for descriptor in files:
                os.close(descriptor)

    def keep_door(self, descriptors: Sequence[int]) -> None:
        """Hand these to every authority to come; they are owned from here on."""
        for descriptor in self._door:
            os.close(descriptor)
        self._door = tuple(descriptors)

    def keep_account_key(self, descriptor: int) -> None:
        """Hold the key of an account until it is taken."""
        if self._account >= 0:
            os.close(self._account)
        self._account = descriptor

    def take_account_key(self) -> int:
        """Return the key of the account, which is the caller's from here on; -1: none has come."""
        descriptor, self._account = self._account, -1
        return descriptor

    def keep_archive_key(self, descriptor: int) -> None:
        """Hold the key of an archive until it is taken."""
        if self._archive >= 0:
            os.close(self._archive)
        self._archive = descriptor

    def take_archive_key(self) -> int:
        """Return the key of an archive, which is the caller's from here on; -1: none has come."""
        descriptor, self._archive = self._archive, -1
        return descriptor

    def take(self, token: int, measurement: int | None = None) -> None:
        """Use these descriptors, which are owned from here on, for every boot to come."""
        if self.token >= 0:
            os.close(self.token)
        self.token = token
        if measurement is not None:
            if self.measurement >= 0:
                os.close(self.measurement)
            self.measurement = measurement
