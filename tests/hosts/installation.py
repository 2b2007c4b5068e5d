"""tlsrt as a user has it: the wheel of a clean copy, installed beside copies of its dependencies, without a network.

Everything lies below one folder in /tmp that everybody may enter, is made once in a test process, and goes at its end.
A test that changes installed files makes an environment of its own (`changeable`), and puts back what it changed. What
no test changes is made once for all processes that share the suite (tests/tools/run.py).
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BASE_PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
PROGRAMS = ("tlsrt", "tlsrt-supervisor")
DEPENDENCIES = ("cryptography", "cffi", "pycparser", "msgpack", "psutil", "PyYAML", "pyzmq")
_NOT_COPIED = (
    "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3",
    "config-*",
)  # fmt: skip
SHARED = "SUITE_SHARED"  # names the folder of the processes that share the suite
_NOT_TRACKED = ("__pycache__", ".*", "*.egg-info", "build", "dist", "var", "results")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@cache
def scratch() -> Path:
    """Return the folder of this test run; everybody may enter it."""
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-installed."))
    atexit.register(_remove, folder, os.getpid())
    folder.chmod(0o755)
    return folder


def shared() -> Path:
    """Return the folder of all processes that share the suite."""
    return Path(os.environ.get(SHARED) or scratch())


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Have a folder made by the first of the processes that share the suite, where it is; it is not changed."""
    with open(f"{folder}.lock", "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            shutil.rmtree(folder, ignore_errors=True)  # of one that has failed
            folder.mkdir()
            make(folder)
            lock.write("made")
    return folder


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that some test forked
        shutil.rmtree(folder, ignore_errors=True)


@cache
def tracked() -> tuple[str, ...]:
    """Return the paths of the repository's files: all that git does not ignore; without git, all that is no litter."""
    if (CHECKOUT / ".git").exists():
        which = ("--cached", "--others", "--exclude-standard")
        names = run("git", "-c", "safe.directory=*", "-C", CHECKOUT, "ls-files", "-z", *which).split("\0")
        return tuple(sorted({name for name in names if name and os.path.lexists(CHECKOUT / name)}))
    ignored = shutil.ignore_patterns(*_NOT_TRACKED)
    found: list[str] = []
    for folder, folders, files in os.walk(CHECKOUT):
        skip = ignored(folder, [*folders, *files])
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if name not in skip and name not in links]
        found += [os.path.relpath(os.path.join(folder, name), CHECKOUT) for name in {*files, *links} - skip]
    return tuple(sorted(found))


def copy_tracked(folder: Path, *, below: str = "", links: bool = True) -> Path:
    """Copy the repository's files, or those `below` a folder; return the copy.

    Without `links`, each link becomes a text file, as some unpackers of zip do it.
    """
    for name in (name for name in tracked() if name.startswith(below)):
        source, target = CHECKOUT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() and not links:
            target.write_text(os.readlink(source))
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


def build_wheel(source: Path, into: Path) -> Path:
    """Build the wheel of a source folder with the setuptools of the running environment."""
    into.mkdir(parents=True, exist_ok=True)
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", into, source)
    [made] = into.glob("*.whl")
    return made


@cache
def wheel() -> Path:
    """Return tlsrt's wheel, built from a clean copy."""
    folder = once(shared() / "wheel", lambda folder: build_wheel(copy_tracked(folder / "clean"), folder / "made"))
    [made] = (folder / "made").glob("*.whl")
    return made


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with tlsrt in it."""

    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "lib" / VERSION / "site-packages"

    @property
    def libraries(self) -> str | None:
        """The value of LD_LIBRARY_PATH with which a copied interpreter finds its own libpython, if it has one."""
        home = (self.folder / "pyvenv.cfg").read_text().partition("home = ")[2].splitlines()[0]
        folder = Path(home).parent / "lib"
        is_copy = folder.is_relative_to(shared()) or folder.is_relative_to(scratch())
        return str(folder) if is_copy and any(folder.glob("libpython*")) else None

    def program(self, name: str) -> Path:
        return self.folder / "bin" / name

    def install(self, *wheels: Path, compiled: bool = True) -> None:
        """Install wheels; their dependencies must be there already."""
        options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-warn-script-location"]
        options += [] if compiled else ["--no-compile"]
        run(sys.executable, "-m", "pip", "--python", self.program("python"), "install", *options, *wheels)


def make_environment(folder: Path, *wheels: Path, python: Path | None = None, compiled: bool = True) -> Environment:
    """Make an environment with tlsrt and more wheels, by copies; `python` is another interpreter than the running one.

    With `compiled=False` there is no bytecode, as after `uv pip install`.
    """
    environment = Environment(folder)
    run(python or BASE_PYTHON, "-m", "venv", "--without-pip", folder)
    if compiled:
        _copy_installed(environment)
        if wheels:
            environment.install(*wheels)
    else:
        copy_dependencies(environment.site, compiled=False)
        environment.install(wheel(), *wheels, compiled=False)
    for path in (folder, *folder.rglob("*")):  # as under a umask of 022, whatever it is here
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o755 if path.is_dir() else 0o644))
    return environment


def _copy_installed(environment: Environment) -> None:
    """Copy what pip has installed once; only the first line of a program says where it lies."""
    origin = Environment(once(shared() / "copied", _install))
    shutil.copytree(origin.site, environment.site, symlinks=True, dirs_exist_ok=True)
    for name in PROGRAMS:
        _, _, text = origin.program(name).read_text().partition("\n")
        environment.program(name).write_text(f"#!{environment.program('python')}\n{text}")
        environment.program(name).chmod(0o755)


def _install(folder: Path) -> None:
    environment = Environment(folder)
    run(BASE_PYTHON, "-m", "venv", "--without-pip", folder)
    copy_dependencies(environment.site)
    environment.install(wheel())


def copy_dependencies(site: Path, *, compiled: bool = True) -> None:
    """Copy every installed file of tlsrt's dependencies."""
    for name in DEPENDENCIES:
        copy_files(name, site, compiled=compiled)


def copy_files(distribution: str, site: Path, *, compiled: bool) -> None:
    """Copy the installed files of a distribution, with its byte code or without. Raises PackageNotFoundError."""
    for file in metadata.files(distribution) or ():
        if ".." not in file.parts and (compiled or file.suffix != ".pyc"):
            source, target = Path(str(file.locate())), site / file
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)


@cache
def installed() -> Environment:
    """Return the environment that all tests share; they do not change it."""
    return Environment(once(shared() / "env", make_environment))


@cache
def changeable() -> Environment:
    """Return the environment whose files the tests of this process change; they leave it as it was."""
    return make_environment(scratch() / "env-changeable")


@cache
def installed_with_pip() -> Environment:
    """Return an environment with pip in it, for tests of the command that installs; they leave it as it was."""
    made = make_environment(scratch() / "env-components")
    import pip

    shutil.copytree(Path(pip.__file__).parent, made.site / "pip")  # with its byte code: it runs often
    return made


def copy_interpreter(folder: Path) -> Path:
    """Copy the running interpreter and its standard library, which find each other wherever they are; return it."""
    library = Path(sys.platlibdir, VERSION)
    shutil.copytree(
        sysconfig.get_path("platstdlib", vars={"platbase": sys.base_prefix}), folder / library,
        ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True,
    )  # fmt: skip
    (folder / "bin").mkdir()
    interpreter = folder / "bin" / VERSION
    shutil.copy2(os.path.realpath(sys.executable), interpreter)
    shared = sysconfig.get_config_var("INSTSONAME") if sysconfig.get_config_var("Py_ENABLE_SHARED") else None
    for place in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix, "lib")):
        if shared and place and Path(place, shared).is_file() and not (folder / "lib" / shared).exists():
            shutil.copy2(Path(place, shared), folder / "lib" / shared)
    return interpreter


def place_interpreter(folder: Path) -> Path:
    """Have a copy of the copy that is made once; return it. No hard links: each new one changes the times of all."""
    made = once(shared() / "python", copy_interpreter)
    shutil.copytree(made, folder, symlinks=True)
    return folder / "bin" / VERSION


@cache
def portable() -> Environment:
    """Return an environment that every user may run, wherever the running interpreter lies; no test changes it."""
    python = once(shared() / "python", copy_interpreter) / "bin" / VERSION
    return Environment(once(shared() / "env-portable", partial(make_environment, python=python)))


def listed(folders: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Return size and time of change of each file below the folders."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for folder in folders for path in folder.rglob("*") if not path.is_dir()
    }  # fmt: skip
