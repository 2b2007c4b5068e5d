"""The verbs that make a host a service of systemd, as data."""

from __future__ import annotations

from pathlib import Path

from tlsrt.command_line.table import Argument, Verb, flag

_USER = Argument(("--user",), "who it runs as, made if missing (tlsrt; root: what devices and helpers need)", "NAME")
_ROOT = Argument(("--root",), "a folder that stands for /: only files are written there", "DIR", kind=Path)
_DRY_RUN = flag("--dry-run", text="only print what would be written and run")
SERVICE = (
    Verb(
        "unit",
        "print the unit of systemd and its other files",
        (_USER._replace(default="tlsrt"),),
        run="service.install.unit",
        is_raw=True,
    ),
    Verb(
        "install",
        "make this host a service of systemd: unit, socket, user, folders; again after a change of the configuration",
        (
            _USER._replace(default="tlsrt"), _ROOT._replace(default=Path("/")),
            flag("--now", text="start it, too; anew if it runs by an older unit"), _DRY_RUN,
            Argument(
                ("--credentials",),
                "how master_key is kept for the service: in its file, or sealed by the TPM of this machine (as before)",
                "HOW", choices=("files", "tpm2"),
            ),
            Argument(
                ("--tpm2-pcrs",), "registers of the TPM that must stay as they are (sha256:7)", "PCRS", name="tpm2_pcrs"
            ),
        ),
        run="service.install.install",
    ),
    Verb(
        "unseal-key",
        "hand a key that the TPM has sealed to systemd; the unit tlsrt-keys@.service runs it",
        run="service.tpm.unseal_key",
    ),
    Verb(
        "uninstall",
        "stop the service and remove what `install` has written; state, logs, user, configuration and keys stay",
        (
            _ROOT._replace(default=Path("/")), _DRY_RUN,
            flag("--purge", text="remove edited files, drop-ins, and what `install` had made: state, logs and user"),
        ),
        run="service.install.uninstall",
    ),
)  # fmt: skip
