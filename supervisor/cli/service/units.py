"""The files that make a host a service of systemd, as texts. Pure.

systemd.exec(5), systemd.service(5), systemd.socket(5), sysusers.d(5), tmpfiles.d(5). The lines of hardening are those
that a host serves under with every layer of its sandbox: its processes make namespaces and mounts of their own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.reach import LOCAL_VARIABLE

NAME = "tlsrt"
GECOS = "tlsrt"  # of the user that is made
ROOT = "root"
STATE_DIR, RUN_DIR, LOG_DIR = Path("/var/lib/tlsrt"), Path("/run/tlsrt"), Path("/var/log/tlsrt")
UNITS, SYSUSERS, TMPFILES = Path("/etc/systemd/system"), Path("/etc/sysusers.d"), Path("/etc/tmpfiles.d")
SERVICE, SOCKET = UNITS / f"{NAME}.service", UNITS / f"{NAME}.socket"
DROP_INS = UNITS / f"{NAME}.service.d"
KEYS_SERVICE, KEYS_SOCKET = UNITS / f"{NAME}-keys@.service", UNITS / f"{NAME}-keys.socket"
KEYS_PLACE = Path("/run/tlsrt-keys")  # where a key that the TPM has sealed is handed to systemd
DOOR = "door"  # the name of the socket, which the supervisor knows it by
_MARK = "# Written by `tlsrt-supervisor install`, which replaces this file while it is unedited: sha256 "
_STOP_ROOM_S = 10

# What any host does without, root's too.
_FOR_ALL = """\
NoNewPrivileges=yes
LimitCORE=0
UMask=0077
KeyringMode=private
ProtectSystem=strict
PrivateTmp=yes
ProtectHostname=yes
ProtectKernelModules=yes
ProtectControlGroups=private
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
# "not implemented": libraries go on without what they cannot have
SystemCallErrorNumber=ENOSYS
"""
# A configuration that wants more is warned of at its start, and `install` writes the unit for it.
_LOCAL = f"""\
# the door is on loopback and no rule of egress goes beyond: install again after you have changed that
IPAddressDeny=any
IPAddressAllow=localhost
Environment={LOCAL_VARIABLE}=1
"""
# Root keeps what its grants to components need: devices, settings of the kernel, routes, uids for every process.
_FOR_ROOT = """\
RestrictNamespaces=user mnt pid net ipc uts
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
"""
_FOR_USER = """\
CapabilityBoundingSet=
AmbientCapabilities=
PrivateUsers=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectKernelLogs=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
# namespaces and mounts: the supervisor's own sandbox, in a user namespace
RestrictNamespaces=user mnt pid net ipc uts
SystemCallFilter=@system-service @sandbox @mount memfd_secret pidfd_getfd
SystemCallFilter=~@resources @keyring @obsolete io_uring_setup userfaultfd vmsplice
"""

_FOR_KEYS = """\
NoNewPrivileges=yes
LimitCORE=0
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateNetwork=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
DevicePolicy=closed
DeviceAllow=/dev/tpmrm0 rw
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""
_FOR_LIBZMQ = """\
# libzmq (`channels: {engine: libzmq}`) gives its threads the scheduling that they have, and ends if it may not
SystemCallFilter=sched_setscheduler
"""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What the files are made of."""

    program: Path  # tlsrt-supervisor
    config: Path
    user: str
    host: str  # of the door
    port: int
    state_dir: Path
    run_dir: Path
    log_dir: Path
    stop_s: float  # that a stop may take
    credentials: tuple[tuple[str, Path], ...] = ()  # keys that only root may read
    needs_home: bool = False  # the interpreter lies below a home
    is_local: bool = False  # it serves and reaches loopback only
    has_libzmq: bool = False  # its links go through libzmq
    sealed: tuple[str, ...] = ()  # names of credentials that the TPM has sealed

    @property
    def is_root(self) -> bool:
        return self.user == ROOT


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """A file of the service; without a text a folder."""

    path: Path
    text: str | None


def service_files(facts: ServiceFacts) -> list[ServiceFile]:
    """Return every file of the service, in the order in which they are written."""
    files = [
        (SERVICE, service_text(facts)),
        (SOCKET, socket_text(facts)),
        (TMPFILES / f"{NAME}.conf", tmpfiles_text(facts)),
    ]
    if facts.sealed:
        files += [(KEYS_SERVICE, keys_service_text(facts)), (KEYS_SOCKET, keys_socket_text())]
    if not facts.is_root:
        files.insert(0, (SYSUSERS / f"{NAME}.conf", sysusers_text(facts)))
    return [*(ServiceFile(path, marked(text)) for path, text in files), ServiceFile(DROP_INS, None)]


def service_text(facts: ServiceFacts) -> str:
    """Return tlsrt.service."""
    command = f"{_word(facts.program)} %s --config {_word(facts.config)}"
    lines = [
        "[Unit]",
        "Description=tlsrt: sandboxed loops behind one TLS 1.3 door",
        "After=network-online.target",
        "Wants=network-online.target",
        f"Requires={SOCKET.name}",
        f"After={SOCKET.name}",
        *([f"Requires={KEYS_SOCKET.name}", f"After={KEYS_SOCKET.name}"] if facts.sealed else []),
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify-reload",
        "NotifyAccess=main",
        f"ExecStart={command % 'start'}",
        "# A refused reload is the exit status of this, so that `systemctl reload` tells; the signal does nothing.",
        f"ExecReload={command % 'reload'}",
        "ReloadSignal=SIGCONT",
        "WatchdogSec=10s",
        "TimeoutStartSec=60s",
        f"TimeoutStopSec={facts.stop_s + _STOP_ROOM_S:g}s",
        "KillMode=mixed",
        "Restart=on-failure",
        "RestartSec=100ms",
        "RestartSteps=6",
        "RestartMaxDelaySec=30s",
        "# 64, 77, 78: what another attempt does not change",
        "RestartPreventExitStatus=64 77 78",
        "OOMPolicy=continue",
        "FileDescriptorStoreMax=16",
        "# memory, tasks and processors of each process; the supervisor moves into a group of its own",
        "Delegate=yes",
        *([] if facts.is_root else [f"User={facts.user}", f"Group={facts.user}"]),
        *(
            f"LoadCredential={name}:{KEYS_PLACE if name in facts.sealed else _word(path)}"
            for name, path in facts.credentials
        ),
        *_folders(facts),
        *([] if facts.needs_home else ["ProtectHome=yes"]),
    ]
    local = _LOCAL if facts.is_local else ""
    user = _FOR_USER + (_FOR_LIBZMQ if facts.has_libzmq else "")
    hardening = local + _FOR_ALL + (_FOR_ROOT if facts.is_root else user)
    return "\n".join(lines) + f"\n{hardening}\n[Install]\nWantedBy=multi-user.target\n"


def _folders(facts: ServiceFacts) -> list[str]:
    """Return how systemd makes the folders; those that are elsewhere are opened for writing only."""
    lines: list[str] = []
    for name, usual, mode, place in (
        ("State", STATE_DIR, "0711", facts.state_dir),
        ("Runtime", RUN_DIR, "0711", facts.run_dir),
        ("Logs", LOG_DIR, "0750", facts.log_dir),
    ):
        if place == usual:
            lines += [f"{name}Directory={NAME}", f"{name}DirectoryMode={mode}"]
        else:
            lines.append(f"ReadWritePaths={_word(place)}")
    return lines


def socket_text(facts: ServiceFacts) -> str:
    """Return tlsrt.socket: the door's listening socket, which is there while the service is not."""
    host = f"[{facts.host}]" if ":" in facts.host else facts.host
    lines = [
        "[Unit]",
        "Description=the door of tlsrt",
        "",
        "[Socket]",
        f"ListenStream={host}:{facts.port}",
        f"FileDescriptorName={DOOR}",
        f"Service={SERVICE.name}",
        "Backlog=4096",
        "BindIPv6Only=ipv6-only",
        "# A host that does not start is tried again by a client at most this often, and its socket stays.",
        "PollLimitIntervalSec=10s",
        "PollLimitBurst=1",
        "TriggerLimitIntervalSec=0",
        "",
        "[Install]",
        "WantedBy=sockets.target",
    ]
    return "\n".join(lines) + "\n"


def keys_socket_text() -> str:
    """Return tlsrt-keys.socket: where systemd asks for a key before it starts the host."""
    return (
        f"[Unit]\nDescription=keys of tlsrt that the TPM has sealed\n\n[Socket]\nListenStream={KEYS_PLACE}\n"
        "SocketMode=0600\nAccept=yes\nMaxConnections=16\nRemoveOnStop=yes\n"
    )


def keys_service_text(facts: ServiceFacts) -> str:
    """Return tlsrt-keys@.service: opens one key by the TPM and writes it to systemd, as root without its rights."""
    return (
        "[Unit]\nDescription=a key of tlsrt that the TPM has sealed\nCollectMode=inactive-or-failed\n\n[Service]\n"
        f"ExecStart={_word(facts.program)} unseal-key --config {_word(facts.config)}\n"
        f"StandardInput=socket\nStandardOutput=journal\nStandardError=journal\nSlice=system.slice\nTimeoutStartSec=60s\n{_FOR_KEYS}"
    )


def sysusers_text(facts: ServiceFacts) -> str:
    """Return sysusers.d/tlsrt.conf: the user who runs it."""
    return f'u {facts.user} - "{GECOS}" {STATE_DIR} -\n'


def tmpfiles_text(facts: ServiceFacts) -> str:
    """Return tmpfiles.d/tlsrt.conf: whose the files are that only root may read."""
    if facts.is_root:
        return "# nothing: root finds its configuration and its keys as they are\n"
    secret = [f"z {_word(path)} 0600 root root -" for _, path in facts.credentials]
    return "\n".join([f"d {_word(facts.config.parent)} 0755 root root -", *secret]) + "\n"


def made_folders(service: str) -> list[Path]:
    """Return the folders for state and logs that an installed unit has had made; none if it was edited."""
    lines = service.splitlines() if is_unedited(service) else []
    made = (("StateDirectory", STATE_DIR), ("LogsDirectory", LOG_DIR))
    return [place for key, place in made if f"{key}={NAME}" in lines]


def made_user(sysusers: str) -> str:
    """Return the user that an installed file for sysusers.d names; nothing if it was edited."""
    words = sysusers.partition("\n")[2].split() if is_unedited(sysusers) else []
    return words[1] if words[:1] == ["u"] else ""


def runs(service: str, config: Path) -> bool:
    """Say whether an installed unit starts the host of this configuration."""
    lines = (line for line in service.splitlines() if line.startswith("ExecStart="))
    return any(line.endswith(f" start --config {_word(config)}") for line in lines)


def loaded_credentials(service: str) -> list[tuple[str, Path]]:
    """Return name and file of each key that a unit hands over."""
    lines = (line.partition("=") for line in service.splitlines())
    pairs = (value.partition(":") for key, _, value in lines if key == "LoadCredential")
    return [(name, Path(path.strip('"').replace("%%", "%"))) for name, _, path in pairs]


def _word(path: Path) -> str:
    """Return a path as one word of a unit."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if re.search(r"[\s\"';]", text) else text


def marked(text: str) -> str:
    """Return a text whose first line says that it is ours, and by its digest whether it was edited."""
    return f"{_MARK}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def is_unedited(text: str) -> bool:
    """Say whether a text is one of `marked`, and as it was written."""
    first, _, rest = text.partition("\n")
    return first.startswith(_MARK) and marked(rest).partition("\n")[0] == first


def credentials_for(user: str, files: Sequence[Path]) -> tuple[tuple[str, Path], ...]:
    """Return the files that are handed to a user as credentials, by their names; root reads them itself."""
    return () if user == ROOT else tuple((path.name, path) for path in files)
