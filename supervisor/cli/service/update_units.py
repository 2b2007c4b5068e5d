"""Units that carry out the orders of the component secondary/updates, as a package of a distribution brings them. Pure.

They are off until an operator enables the path unit: upgrades of the host are none of tlsrt's business before that. The
folder of orders is not among them, as it belongs to the uid of the component, which a host decides.
"""

from __future__ import annotations

from pathlib import Path

from tlsrt.supervisor.cli.service.packaged import PROGRAM
from tlsrt.supervisor.cli.service.units import ServiceFile

FOLDER = Path("/var/lib/tlsrt-updates")
NAME = "tlsrt-updates"
_UNITS = Path("/usr/lib/systemd/system")

_PATH = f"""\
[Unit]
Description=Orders of the tlsrt component secondary/updates

[Path]
PathExists={FOLDER}/orders/order

[Install]
WantedBy=multi-user.target
"""
_SERVICE = f"""\
[Unit]
Description=Carry out an order of the tlsrt component secondary/updates
# An order that cannot be read is removed: a captured component cannot keep these units down by many of them.
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={PROGRAM} apt-order --orders {FOLDER}/orders --results {FOLDER}/results
# A pause before the next: who writes orders without end has no more of the machine than this.
ExecStartPost=/bin/sleep 1
TimeoutStartSec=2h
UMask=0022
"""
_TMPFILES = f"""\
# results of orders, which only root writes and the component reads
d {FOLDER} 0755 root root -
d {FOLDER}/results 0755 root root -
"""


def update_files() -> list[ServiceFile]:
    """Return every file that a package installs for the updates."""
    return [
        ServiceFile(_UNITS / f"{NAME}.path", _PATH),
        ServiceFile(_UNITS / f"{NAME}.service", _SERVICE),
        ServiceFile(Path(f"/usr/lib/tmpfiles.d/{NAME}.conf"), _TMPFILES),
    ]
