"""The files of the service as a package of a distribution brings them: for a host that `init --system` has made. Pure.

They are the same texts that `install` writes, in the folders that are the packages' own. So `install` finds that
nothing is to be written for such a host, and an upgrade of the package renews them; for another host it writes its own
beside them, which come first: systemd.unit(5), sysusers.d(5), tmpfiles.d(5).
"""

from __future__ import annotations

from pathlib import Path

from tlsrt.supervisor.cli.service.units import (
    LOG_DIR,
    RUN_DIR,
    STATE_DIR,
    ServiceFacts,
    ServiceFile,
    credentials_for,
    service_files,
)
from tlsrt.supervisor.events.journal_catalog import FILE, catalog_text

PROGRAM = Path("/usr/bin/tlsrt-supervisor")
CONFIGURATION = Path("/etc/tlsrt")
USER = "tlsrt"
CATALOG = Path("/usr/lib/systemd/catalog") / FILE
_KEYS = ("master.key", "server.key", "ca.key")
_HOST, _PORT = "127.0.0.1", 7443  # what `init` writes if it is not told another door
_STOP_S = 40.0  # of the usual processes, and twice more
_FIRST = "# Of the package tlsrt: `tlsrt-supervisor install` writes another one to /etc for a host that needs it\n"


def place_of(path: Path) -> Path:
    """Return where a package has the file that `install` writes to `path`."""
    return Path("/usr/lib") / path.relative_to("/etc")


def packaged_files() -> list[ServiceFile]:
    """Return every file that a package installs for the service."""
    facts = ServiceFacts(
        program=PROGRAM,
        config=CONFIGURATION / "tlsrt.yaml",
        user=USER,
        host=_HOST,
        port=_PORT,
        state_dir=STATE_DIR,
        run_dir=RUN_DIR,
        log_dir=LOG_DIR,
        stop_s=_STOP_S,
        credentials=credentials_for(USER, [CONFIGURATION / name for name in _KEYS]),
        is_local=True,
    )
    files = [
        ServiceFile(place_of(file.path), _FIRST + body_of(file.text))
        for file in service_files(facts) if file.text is not None
    ]  # fmt: skip
    return [*files, ServiceFile(CATALOG, catalog_text())]


def body_of(text: str) -> str:
    """Return a file of the service without its first line, which says who wrote it."""
    return text.partition("\n")[2]
