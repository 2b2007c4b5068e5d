"""Peers that are programs: where they are, and how they get there.

Debian's packages are downloaded by apt-get and unpacked under `bench/.peers`, not installed: so no daemon is started
or enabled, nothing of the machine changes, and it needs no root. What is installed already is used as it is. C
programs of the bench itself are compiled there too, and peers from PyPI come with the extra `bench` of tlsrt.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.row import PeerMissing

BENCH = Path(__file__).resolve().parent
PEERS = BENCH / ".peers"
ROOT = PEERS / "root"
SEARCHED = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
DEBIAN = ("nginx", "haproxy", "openssl", "stunnel4", "s6", "runit", "dbus-daemon", "dbus-broker")
PROGRAMS = {
    "nginx": "nginx", "haproxy": "haproxy", "stunnel4": "stunnel4", "s6-svscan": "s6", "runsvdir": "runit",
    "openssl": "openssl",
    "dbus-daemon": "dbus-daemon", "dbus-broker": "dbus-broker", "dbus-broker-launch": "dbus-broker",
}  # fmt: skip
C_SOURCES = {  # name -> libraries
    "tls_floor": ("-lssl", "-lcrypto"), "tls_load": ("-lssl", "-lcrypto", "-lpthread"), "program_echo": ("-static",),
}  # fmt: skip
_INSTALLS = re.compile(r"^Inst (\S+) ", re.MULTILINE)


def program(name: str) -> Path:
    """Return where a program is, the machine's own before the unpacked one; raise PeerMissing if it is nowhere."""
    for root in (Path("/"), ROOT):
        for folder in SEARCHED:
            path = root / folder / name
            if os.access(path, os.X_OK):
                return path
    raise PeerMissing(f"{name} is not here: run make bench-peers, or install Debian's package {PROGRAMS[name]}")


def unpacked(path: Path) -> bool:
    """Say whether a program is one of ours rather than the machine's."""
    return path.is_relative_to(ROOT)


def environment() -> dict[str, str]:
    """Return an environment in which unpacked programs find each other and their libraries."""
    libraries = [str(path) for path in ROOT.glob("usr/lib/*-linux-*")]
    folders = [str(ROOT / folder) for folder in SEARCHED]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PATH": ":".join(["/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *folders]),
    }


def c_program(name: str) -> Path:
    """Return a compiled program of bench/c, compiling it if its source is newer; raise PeerMissing if that fails."""
    source, target = BENCH / "c" / f"{name}.c", PEERS / "bin" / name
    if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
        return target
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise PeerMissing(f"{name} needs a C compiler: install Debian's gcc and libssl-dev")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(f".{os.getpid()}")
    argv = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(fresh), str(source), *C_SOURCES[name]]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise PeerMissing(f"{name} does not compile (libssl-dev missing?): {_last(done.stderr)}")
    fresh.rename(target)
    return target


def need_modules(*names: str) -> None:
    """Raise PeerMissing if one of these modules is not in this environment."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise PeerMissing(f"the module {name} is not here: pip install 'tlsrt[bench]', or make bench-peers")


def script(name: str) -> Path:
    """Return a console script of this environment; raise PeerMissing if it is not there."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise PeerMissing(f"{name} is not in this environment: pip install 'tlsrt[bench]', or make bench-peers")
    return path


# -- getting them ------------------------------------------------------------------------------------------------------


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"


def _apt(*arguments: str, cwd: Path | None = None) -> str:
    argv = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=300", *arguments]
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise PeerMissing(f"apt-get {arguments[0]}: {_last(done.stderr)}")
    return done.stdout


def _unpack(package: str) -> None:
    """Download a package with all that it needs and this machine has not, and unpack it."""
    names = _INSTALLS.findall(_apt("install", "--simulate", "--no-install-recommends", package))
    folder = PEERS / "debs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not list(folder.glob(f"{name.partition(':')[0]}_*.deb")):
            _apt("download", name, cwd=folder)
        for archive in folder.glob(f"{name.partition(':')[0]}_*.deb"):
            subprocess.run(["dpkg", "-x", str(archive), str(ROOT)], check=True)


def install(*packages: str) -> None:
    """Install Debian's tools, as root only; raise PeerMissing if that cannot be. They start no daemon."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PeerMissing(f"install {', '.join(packages)}, or run this once as root")
    print(f"bench: installing {', '.join(packages)}", flush=True)
    try:
        _apt("install", "--yes", "--no-install-recommends", *packages)
    except PeerMissing:
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *packages)


def _have(package: str) -> bool:
    try:
        return all(program(name) for name, owner in PROGRAMS.items() if owner == package)
    except PeerMissing:
        return False


def fetch(packages: Sequence[str] = DEBIAN) -> list[str]:
    """Get every program that is missing; return a sentence for each that cannot be had."""
    missing = [package for package in packages if not _have(package)]
    problems: list[str] = []
    if missing and shutil.which("apt-get") is None:
        problems.append(f"no apt-get here, so these peers are left out unless you install them: {', '.join(missing)}")
        missing = []
    if missing and os.geteuid() == 0:
        try:
            _apt("update")
        except PeerMissing as error:
            problems.append(str(error))
    for package in missing:
        print(f"bench: getting {package}", flush=True)
        try:
            _unpack(package)
        except PeerMissing as error:
            problems.append(f"{package} is left out: {error}")
    return problems


def compile_all() -> list[str]:
    """Compile the programs of bench/c; a compiler is installed if need be. Return a sentence for what cannot be had."""
    problems: list[str] = []
    for name in C_SOURCES:
        try:
            c_program(name)
        except PeerMissing as error:
            try:
                install("gcc", "libc6-dev", "libssl-dev")
                c_program(name)
            except PeerMissing as again:
                problems += [str(error), str(again)]
    return problems


def main() -> int:
    """Get all peers that are programs; print what cannot be had. The bench names it again in its table."""
    for problem in fetch() + compile_all():
        print(f"bench: {problem}")
    return 0
