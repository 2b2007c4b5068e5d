"""The folder of systemd-networkd, and the word that has it read its files again: `Reload` over D-Bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tlsrt import CallError, Failed
from tlsrt.loops.external.bus_question import WITHOUT, ask, load
from tlsrt.loops.external.interface_state import DeclaredInterface
from tlsrt.loops.external.networkd_files import files_of, write_files

NAME, PATH, INTERFACE = "org.freedesktop.network1", "/org/freedesktop/network1", "org.freedesktop.network1.Manager"


class NetworkdFolder:
    """Keeps the files of what was confirmed; without a folder it does nothing. Made in `warm_up`."""

    def __init__(self, folder: str, work: Callable[..., Awaitable[Any]]) -> None:
        self._folder = folder
        self._work = work
        self._has_bus = bool(folder) and load()
        self._files: list[str] | None = None  # unknown
        self._why_not = ""

    @property
    def status(self) -> dict[str, Any] | None:
        """Return {folder, files, why_not_read}: the last is null if systemd-networkd has read them. None without."""
        if not self._folder:
            return None
        return {"folder": self._folder, "files": self._files, "why_not_read": self._why_not or None}

    async def keep(self, declared: Mapping[str, DeclaredInterface]) -> bool:
        """Have exactly these as files, and read again; tell if systemd-networkd has read something new.

        Where it does not run, or does not listen to us, it reads them at its next start. Raises Failed.
        """
        if not self._folder:
            return False
        wanted = files_of(declared)
        try:
            is_new = await self._work(write_files, Path(self._folder), wanted)
        except OSError as error:
            why = f"{error.strerror}: grant it under `write`, and to the uid that `sandbox show` names"
            raise Failed(f"cannot keep files of systemd-networkd in {self._folder}: {why}") from None
        self._files = sorted(wanted)
        if not is_new:
            return False
        try:
            if not self._has_bus:
                raise Failed(WITHOUT)
            await ask(NAME, PATH, INTERFACE, "Reload")
        except CallError as error:
            self._why_not = f"systemd-networkd reads them at its next start: {error.message}"
            return False
        self._why_not = ""
        return True
