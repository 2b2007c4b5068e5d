"""`tlsrt-supervisor unit`, `install` and `uninstall`.

Each written file says in its first line what it was written as. So a file that an operator has edited is known, left
alone and named, and what to change in a unit belongs in the drop-in folder, which is never touched.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlsrt.config.files import as_config_error
from tlsrt.errors import EX_NOPERM, EX_UNAVAILABLE, ConfigError
from tlsrt.supervisor.cli.exchange import RequestRefused, say
from tlsrt.supervisor.cli.service import units
from tlsrt.supervisor.cli.service.units import ServiceFacts, ServiceFile, service_files

if TYPE_CHECKING:
    from tlsrt.config.schema import Config

_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TOLD_S = 120.0


def unit(arguments: argparse.Namespace) -> int:
    """Print the files of the service."""
    for file in service_files(_facts(arguments)):
        print(f"# {file.path}" if file.text is not None else f"# {file.path}/: a folder for your own lines, *.conf")
        if file.text is not None:
            print(file.text.partition("\n")[2])
    return 0


def install(arguments: argparse.Namespace) -> int:
    """Write the files of the service, make its user, and start it with `--now`."""
    facts = _facts(arguments)
    disk = _Disk(arguments.root, is_dry=arguments.dry_run)
    disk.require_root()
    kept = [file for file in service_files(facts) if not disk.write(file)]
    say(
        *(
            f"{file.path} was edited, so it stays as it is: your lines belong in {units.DROP_INS}/*.conf"
            for file in kept
        )
    )
    if not disk.is_this_host:
        return 0
    commands = [
        *([] if facts.is_root else [("systemd-sysusers", str(units.SYSUSERS / f"{units.NAME}.conf"))]),
        ("systemd-tmpfiles", "--create", str(units.TMPFILES / f"{units.NAME}.conf")),
        ("systemctl", "daemon-reload"),
        ("systemd-analyze", "verify", str(units.SERVICE)),
        ("systemctl", "enable", *(["--now"] if arguments.now else []), units.SOCKET.name, units.SERVICE.name),
    ]
    for command in commands:
        if not disk.run(command):
            return EX_UNAVAILABLE
    if not arguments.dry_run:
        print(_score())
        print("next: " + ("tlsrt-supervisor status" if arguments.now else f"systemctl start {units.SERVICE.name}"))
    return 0


def uninstall(arguments: argparse.Namespace) -> int:
    """Stop the service and remove its files; the state and the configuration stay, but for `--purge`."""
    disk = _Disk(arguments.root, is_dry=arguments.dry_run)
    disk.require_root()
    if disk.is_this_host and disk.has(units.SERVICE):
        disk.run(("systemctl", "disable", "--now", units.SOCKET.name, units.SERVICE.name))
    user = disk.user()
    paths = [
        units.SERVICE,
        units.SOCKET,
        *(folder / f"{units.NAME}.conf" for folder in (units.TMPFILES, units.SYSUSERS)),
    ]
    kept = [path for path in paths if not disk.remove(path, even_edited=arguments.purge)]
    disk.remove_folder(units.DROP_INS, is_whole=arguments.purge)
    say(*(f"{path} was edited, so it stays: remove it yourself, or with --purge" for path in kept))
    places = [units.STATE_DIR, units.LOG_DIR]
    for place in places if arguments.purge else ():
        disk.remove_folder(place, is_whole=True)
    if disk.is_this_host:
        disk.run(("systemctl", "daemon-reload"))
        if arguments.purge and user not in ("", units.ROOT):
            disk.run(("userdel", user))
    left = [str(place) for place in places if disk.has(place)]
    if left and not arguments.purge:
        print(f"left: the state and the logs in {' and '.join(left)}; `uninstall --purge` removes them too")
    print("left: the configuration and the keys, which no verb removes")
    return 0


def _facts(arguments: argparse.Namespace) -> ServiceFacts:
    """Return what the files are made of. Raises ConfigError for a host that would not run as that user."""
    from tlsrt.config.load import load_config
    from tlsrt.config.reach import reaches_out
    from tlsrt.supervisor.cli.exchange import config_path

    path = config_path(arguments)
    config = load_config(path)
    program = Path(os.path.abspath(shutil.which(sys.argv[0]) or sys.argv[0]))
    interpreter = Path(os.path.realpath(sys.executable))
    at_home = [place for place in (program, interpreter, path) if any(map(place.is_relative_to, _HOMES))]
    user = arguments.user
    if at_home and user != units.ROOT:
        raise ConfigError(
            f"{at_home[0]} lies below a home, which the user {user} cannot enter: install tlsrt in /opt and its "
            "configuration in /etc/tlsrt, or take --user root"
        )
    return ServiceFacts(
        program=program,
        config=path,
        user=user,
        host=config.door.host,
        port=config.door.port,
        state_dir=config.state_dir,
        run_dir=config.run_dir,
        log_dir=config.log_dir,
        stop_s=config.limits.stop_timeout_s * (len(config.loops) + 2)
        + sum(program.stop_seconds for component in config.components for program in component.all_programs),
        credentials=units.credentials_for(user, _keys(config)),
        needs_home=bool(at_home),
        has_libzmq=config.channels.engine == "libzmq",
        is_local=user != units.ROOT and not reaches_out(config),
    )


def _keys(config: Config) -> list[Path]:
    """Return the files that only the owner may read: keys. Raises ConfigError for two of one name."""
    from tlsrt.config.key_providers import key_paths

    paths = [*key_paths(config.master_key), config.door.key]
    paths += [config.door.client_ca_key] if config.door.client_ca_key is not None else []
    names = [path.name for path in paths]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"two keys have one file name, and so would their credentials: rename one of {', '.join(names)}"
        )
    return paths


def _score() -> str:
    command = ["systemd-analyze", "security", "--no-pager", units.SERVICE.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TOLD_S, check=False)
    lines = [line for line in done.stdout.splitlines() if "exposure level" in line]
    return lines[-1].lstrip("→ ") if lines else "systemd-analyze gives no score here"


@dataclass(frozen=True, slots=True)
class _Disk:
    """What is written and run; with `is_dry` it is only printed. `root` stands before every path."""

    root: Path
    is_dry: bool

    @property
    def is_this_host(self) -> bool:
        return self.root == Path("/")

    def require_root(self) -> None:
        """Raise RequestRefused for who may not write there."""
        if self.is_this_host and not self.is_dry and os.geteuid() != 0:
            sentence = "a service of the host is installed by root: use sudo, or --dry-run to see what it does"
            raise RequestRefused([sentence], EX_NOPERM)

    def at(self, path: Path) -> Path:
        return self.root / path.relative_to("/")

    def has(self, path: Path) -> bool:
        return os.path.lexists(self.at(path))

    def user(self) -> str:
        """Return the user of the installed service, nothing if there is none."""
        with suppress(OSError):
            for line in self.at(units.SERVICE).read_text().splitlines():
                if line.startswith("User="):
                    return line.removeprefix("User=")
        return ""

    def write(self, file: ServiceFile) -> bool:
        """Write a file, or leave it where it is as wanted already; return False for one that was edited."""
        path = self.at(file.path)
        if file.text is None:
            if not path.is_dir():
                self._do(f"make {path}/", lambda: path.mkdir(parents=True))
            return True
        present = _text(path)
        if present is not None and not units.is_unedited(present):
            return False
        if present == file.text:
            print(f"as it is: {path}")
            return True
        self._do(f"write {path}", lambda: _write(path, file.text or ""))
        if self.is_dry:
            print(file.text)
        return True

    def remove(self, path: Path, *, even_edited: bool) -> bool:
        """Remove a file that was written by `install`; return False for one that was edited."""
        there = self.at(path)
        text = _text(there)
        if text is None:
            return True
        if not even_edited and not units.is_unedited(text):
            return False
        self._do(f"remove {there}", there.unlink)
        return True

    def remove_folder(self, path: Path, *, is_whole: bool) -> None:
        """Remove a folder: with all that is in it, or only if it is empty."""
        there = self.at(path)
        if is_whole and there.is_dir():
            self._do(f"remove {there}/", lambda: shutil.rmtree(there))
        elif there.is_dir() and not any(there.iterdir()):
            self._do(f"remove {there}/", there.rmdir)

    def run(self, command: Sequence[str]) -> bool:
        """Run a command; return whether it succeeded, and say what it said if not."""
        print(f"run: {shlex.join(command)}", flush=True)
        if self.is_dry:
            return True
        try:
            done = subprocess.run(list(command), capture_output=True, text=True, timeout=_TOLD_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"{command[0]}: {error}")
            return False
        if done.returncode:
            say(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.returncode == 0

    def _do(self, what: str, action: Callable[[], object]) -> None:
        print(what)
        if not self.is_dry:
            with as_config_error(what.split()[0], Path(what.split(maxsplit=1)[1])):
                action()


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.chmod(0o644)
    os.replace(beside, path)
