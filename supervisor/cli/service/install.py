"""`tlsrt-supervisor unit`, `install` and `uninstall`.

Each written file says in its first line what it was written as. So a file that an operator has edited is known, left
alone and named, and what to change in a unit belongs in the drop-in folder, which is never touched.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlsrt.config.files import as_config_error
from tlsrt.config.remove_tree import remove_tree
from tlsrt.config.service_user import unit_text
from tlsrt.errors import EX_NOPERM, EX_UNAVAILABLE, ConfigError
from tlsrt.supervisor.cli.exchange import RequestRefused, config_of, say
from tlsrt.supervisor.cli.service import packaged, tpm, units
from tlsrt.supervisor.cli.service.started_units import is_active_here, older_than_their_files
from tlsrt.supervisor.cli.service.units import ServiceFacts, ServiceFile, service_files
from tlsrt.supervisor.process.instance_lock import is_held

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
    if not write_service(arguments):
        return EX_UNAVAILABLE
    disk = _Disk(arguments.root, is_dry=arguments.dry_run)
    if not disk.is_this_host:
        return 0
    both = (units.SOCKET.name, units.SERVICE.name)
    older = (
        []
        if arguments.dry_run
        else older_than_their_files([disk.place(path) for path in (units.SOCKET, units.SERVICE)])
    )
    if not disk.run(("systemctl", "enable", *both)):
        return EX_UNAVAILABLE
    if arguments.now and not all(map(disk.run, _starts(both, older))):
        return EX_UNAVAILABLE
    if not arguments.dry_run:
        print(_score())
        verb = f"systemctl {'restart' if older else 'start'} {units.SERVICE.name}"
        print("next: " + ("tlsrt-supervisor status" if arguments.now else verb))
    return 0


def _starts(both: Sequence[str], older: Sequence[str]) -> list[Sequence[str]]:
    """Return the commands that have both units run as their files are now."""
    if older == [units.SERVICE.name]:  # its socket stays open meanwhile
        return [("systemctl", "restart", *older)]
    stop = [("systemctl", "stop", *both)] if older else []  # a socket does not begin to listen beside its service
    return [*stop, ("systemctl", "start", *both)]


def write_service(arguments: argparse.Namespace) -> bool:
    """Write the files of the service and make its user; whether it starts with the machine stays as it is."""
    facts = _facts(arguments)
    disk = _Disk(arguments.root, is_dry=arguments.dry_run)
    disk.require_root()
    _check_keys(facts, disk)
    _check_folder(facts, disk)
    if arguments.credentials == tpm.TPM2 and not arguments.dry_run:
        say(*tpm.seal_keys(facts.credentials, facts.sealed, arguments.tpm2_pcrs))
    if not facts.sealed:
        _remove_keys_units(disk)
    kept = [file for file in service_files(facts) if not disk.write(file)]
    say(
        *(
            f"{file.path} was edited, so it stays as it is: your lines belong in {units.DROP_INS}/*.conf"
            for file in kept
        )
    )
    if not disk.is_this_host:
        return True
    commands = [
        *([] if facts.is_root else [("systemd-sysusers", f"{units.NAME}.conf")]),
        ("systemd-tmpfiles", "--create", f"{units.NAME}.conf"),
        ("systemctl", "daemon-reload"),
        ("systemd-analyze", "verify", str(disk.place(units.SERVICE))),
    ]
    return all(map(disk.run, commands))


def uninstall(arguments: argparse.Namespace) -> int:
    """Stop the service and remove its files; the state and the configuration stay, but for `--purge`.

    That removes no more than the installed files, unedited, say that `install` has made.
    """
    disk = _Disk(arguments.root, is_dry=arguments.dry_run)
    disk.require_root()
    is_packaged = disk.has(packaged.place_of(units.SERVICE))
    installed = [path.name for path in (units.SOCKET, units.SERVICE) if is_packaged or disk.has(path)]
    installed += [units.KEYS_SOCKET.name] if disk.has(units.KEYS_SOCKET) else []
    # systemd itself bounds a stop, by TimeoutStopSec=
    if disk.is_this_host and installed and not disk.run(("systemctl", "disable", "--now", *installed), told_s=None):
        raise RequestRefused(
            ["the service did not stop, so nothing is removed: stop it, and uninstall again"], EX_UNAVAILABLE
        )
    if arguments.purge and not disk.is_dry and is_held(disk.at(units.STATE_DIR / "lock")):
        sentence = f"a host runs with its state in {units.STATE_DIR}, so nothing is removed: stop it, and purge again"
        raise RequestRefused([sentence], EX_UNAVAILABLE)
    folders, user = units.made_folders(disk.text(units.SERVICE)), disk.made_user()
    paths = [
        units.SERVICE,
        units.SOCKET,
        units.KEYS_SERVICE,
        units.KEYS_SOCKET,
        *(folder / f"{units.NAME}.conf" for folder in (units.TMPFILES, units.SYSUSERS)),
    ]
    kept = [path for path in paths if not disk.remove(path, even_edited=arguments.purge)]
    disk.remove_folder(units.DROP_INS, is_whole=arguments.purge)
    say(*(f"{path} was edited, so it stays: remove it yourself, or with --purge" for path in kept))
    for place in folders if arguments.purge else ():
        disk.remove_folder(place, is_whole=True)
    if disk.is_this_host:
        disk.run(("systemctl", "daemon-reload"))
        if arguments.purge and user:
            disk.run(("userdel", user))
    left = [str(place) for place in (units.STATE_DIR, units.LOG_DIR) if disk.has(place)]
    left += [] if arguments.purge or not user else [f"the user {user}"]
    if left and not (arguments.purge and disk.is_dry):
        reason = "no unedited unit says that `install` made it" if arguments.purge else "for another `install`"
        reason = "of the package: its purge removes them" if is_packaged else reason
        print(f"left: {', '.join(left)} ({reason}); remove yourself what nothing needs")
    print("left: the configuration and the keys, which no verb removes")
    return 0


def _remove_keys_units(disk: _Disk) -> None:
    """Remove the units for sealed keys of a host that has none any more."""
    if disk.has(units.KEYS_SOCKET) and disk.is_this_host:
        disk.run(("systemctl", "disable", "--now", units.KEYS_SOCKET.name))
    for path in (units.KEYS_SOCKET, units.KEYS_SERVICE):
        disk.remove(path, even_edited=False)


def _facts(arguments: argparse.Namespace) -> ServiceFacts:
    """Return what the files are made of. Raises ConfigError for a host that would not run as that user."""
    from tlsrt.config.reach import reaches_out

    config = config_of(arguments, writes=True)  # root gives the keys that it names to root
    path = config.path
    if not config.door.port:
        raise ConfigError("door.port is 0, another port at each start: choose one for the socket unit")
    program = Path(os.path.abspath(shutil.which(sys.argv[0]) or sys.argv[0]))
    interpreter = Path(os.path.realpath(sys.executable))
    at_home = [place for place in (program, interpreter, path) if any(map(place.is_relative_to, _HOMES))]
    user = arguments.user
    if at_home and user != units.ROOT:
        raise ConfigError(
            f"{at_home[0]} lies below a home, which the user {user} cannot enter: install tlsrt in /opt and its "
            "configuration in /etc/tlsrt, or take --user root"
        )
    sealed = tpm.sealed_names(config, arguments)
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
        credentials=units.credentials_for(user, _keys(config, is_sealed=bool(sealed))),
        needs_home=bool(at_home),
        has_libzmq=config.channels.engine == "libzmq",
        sealed=sealed,
        is_local=user != units.ROOT and not reaches_out(config),
    )


def _check_folder(facts: ServiceFacts, disk: _Disk) -> None:
    """Refuse a configuration whose folder tmpfiles.d would take from its owner. Raises ConfigError."""
    folder = facts.config.parent
    if not facts.is_root and disk.is_this_host and folder.stat().st_uid != 0:
        raise ConfigError(
            f"{folder} is not root's, and {facts.user} is to run a configuration that only root can change: move it "
            "to /etc/tlsrt, or take --user root"
        )


def _check_keys(facts: ServiceFacts, disk: _Disk) -> None:
    """Refuse a key that is not there: systemd starts nothing without each of the credentials. Raises ConfigError."""
    gone = [path for name, path in facts.credentials if name not in facts.sealed and not os.path.lexists(path)]
    if gone and disk.is_this_host:
        raise ConfigError(f"there is no {gone[0]}, which the service needs: put your copy of the key there")


def starts_again(config: Path) -> str:
    """Return the sentence for a host that was stopped and that its socket unit starts again; "" if none does."""
    try:
        if not units.runs(unit_text(), config):
            return ""
        is_active = is_active_here(units.SOCKET.name)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    both = f"systemctl stop {units.SOCKET.name} {units.SERVICE.name}"
    return f"{units.SOCKET.name} starts it again at the next connection; `{both}` stops both" if is_active else ""


def master_keys(config: Config, *, is_sealed: bool) -> list[Path]:
    """Return the files of master_key there, or sealed where that serves: systemd starts nothing without one."""
    from tlsrt.config.key_providers import key_paths
    from tlsrt.config.tpm_keys import sealed_place

    def is_there(path: Path) -> bool:
        return os.path.lexists(path) or (is_sealed and os.path.lexists(sealed_place(path)))

    paths = key_paths(config.master_key)
    return list(filter(is_there, paths)) or paths[-1:]


def _keys(config: Config, *, is_sealed: bool) -> list[Path]:
    """Return the files that only the owner may read: keys. Raises ConfigError for two of one name."""
    paths = [*master_keys(config, is_sealed=is_sealed), config.door.key]
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

    def place(self, path: Path) -> Path:
        """Return where a file of the service is: a package's, where `install` has written none."""
        of_package = packaged.place_of(path)
        return of_package if self.has(of_package) and not self.has(path) else path

    def text(self, path: Path) -> str:
        return _text(self.at(path)) or ""

    def made_user(self) -> str:
        """Return the user of this host that `install` has made; nothing for one that was there before."""
        name = units.made_user(self.text(units.SYSUSERS / f"{units.NAME}.conf"))
        try:
            return name if self.is_this_host and pwd.getpwnam(name).pw_gecos == units.GECOS else ""
        except KeyError:
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
        of_package = packaged.place_of(file.path)
        if packaged.body_of(self.text(of_package)) == packaged.body_of(file.text):
            print(f"as it is: {self.at(of_package)}")
            if present is not None:  # it would come first, also after an upgrade
                self._do(f"remove {path}", path.unlink)
            return True
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
        if there.is_symlink():
            return
        if is_whole and there.is_dir():
            self._do(f"remove {there}/", lambda: remove_tree(there))
        elif there.is_dir() and not any(there.iterdir()):
            self._do(f"remove {there}/", there.rmdir)

    def run(self, command: Sequence[str], *, told_s: float | None = _TOLD_S) -> bool:
        """Run a command; return whether it succeeded, and say what it said if not."""
        print(f"run: {shlex.join(command)}", flush=True)
        if self.is_dry:
            return True
        try:
            done = subprocess.run(list(command), capture_output=True, text=True, timeout=told_s, check=False)
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


def unit_here() -> str:
    """Return the text of the unit of this machine, `install`'s or a package's; "" for none. Raises ConfigError."""
    return _text(units.SERVICE) or _text(packaged.place_of(units.SERVICE)) or ""


def run_here(command: Sequence[str]) -> bool:
    """Run a command on this machine, as `install` does; return whether it succeeded."""
    return _Disk(Path("/"), is_dry=False).run(command)


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
