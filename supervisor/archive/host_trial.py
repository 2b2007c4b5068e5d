"""A restore that is tried: all of an archive is read as a restore reads it, and nothing of a host is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from tlsrt.config.document import ConfigFiles
from tlsrt.config.load import parse_files
from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive.host_archive import (
    CONFIG,
    CONFIG_DROP_INS,
    DROP_INS,
    PACKAGES,
    STATE,
    entries_untrusted,
    read_entry,
    skip_entry,
    verify_untrusted,
)
from tlsrt.supervisor.archive.host_content import FILE_MAX


def try_restore(file: BinaryIO, path: Path) -> None:
    """Read a whole archive, also each of its entries, and its configuration as that of `path`.

    Raises ConfigError for what could not be restored.
    """
    head = verify_untrusted(file, "the archive", None).head
    small: dict[str, dict[str, bytes]] = {}
    sections = set[str]()
    for entry in entries_untrusted(file):
        if entry.section == PACKAGES or entry.section.startswith(f"{STATE}/"):
            sections.add(entry.section)
            skip_entry(file, entry)
        else:
            small.setdefault(entry.section, {})[entry.path] = read_entry(file, entry, FILE_MAX)
    if missing := [name for name in head.sections if f"{STATE}/{name}" not in sections]:
        raise ConfigError(f"the archive does not hold the state of {missing[0]}")
    main, more = (
        small.get(CONFIG, {}).get(head.configuration, b""),
        dict(sorted(small.get(CONFIG_DROP_INS, {}).items())),
    )
    config = parse_files(ConfigFiles(main, more, dict(small.get(DROP_INS, {})), os.environ), path)
    if config.install_id.hex() != head.install:
        raise ConfigError("the archive's configuration is of another installation than its head says")
