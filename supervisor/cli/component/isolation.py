"""Packages of one component alone: installed by pip into a folder that no other process is shown.

pip sees an environment in which tlsrt and what tlsrt needs are there, in their versions, and nothing else; what the
component requires besides goes into the folder. What needs another version of those is refused.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from tlsrt.config.distributions import Distribution, owners
from tlsrt.config.drop_ins import DROP_IN, drop_in_folder
from tlsrt.config.files import as_config_error, owner_of, sync_folder
from tlsrt.config.import_path import own_names
from tlsrt.config.isolation import check_isolated, isolated_folder, packages_folder
from tlsrt.config.remove_tree import remove_tree
from tlsrt.config.yaml_nodes import Problems, read_document
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.component.wheel import WHEELS, Offering, check_brought, known_distributions, pip
from tlsrt.text import printable

_RUN_PIP = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); sys.argv[0] = 'pip'; "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)
_CONFLICT = re.compile(r"^ +(.+ depends on .+)$", re.MULTILINE)
_LINE = re.compile(rb"^isolated:[ \t]*[0-9]+(?=[ \t]*(?:[ \t]#.*)?\r?$)", re.MULTILINE)
_UNFINISHED = "unfinished-"


def numbered(data: bytes, number: int) -> bytes:
    """Return a drop-in with another number of its folder of packages; all else stays as it was written.

    Raises ConfigError for one that says none.
    """
    made = _LINE.sub(b"isolated: %d" % number, data, count=1)
    if number_of(made, "the file") != number:
        raise ConfigError("the file does not say `isolated: NUMBER` in a line of its own: correct it")
    return made


def number_of(data: bytes, file: Path | str) -> int:
    """Return the number that a drop-in says, 0 for none. Raises ConfigError for what cannot be read."""
    problems = Problems(str(file))
    try:
        root = read_document(data.decode("utf-8-sig"), problems)
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: the file is not UTF-8 text") from None
    problems.raise_if_any()
    said = [value for key, value in (root.pairs if root is not None else None) or () if key.text == "isolated"]
    if not said:
        return 0
    if len(said) > 1 or said[0].tag != "int" or not re.fullmatch("[1-9][0-9]*", said[0].text):
        raise ConfigError(f"{file}:{said[0].line}:{said[0].column}: `isolated` is one number, from 1 on: correct it")
    return int(said[0].text)


def next_number(config: Path, address: str) -> int:
    """Return a number that no folder of a component has."""
    name = address.replace("/", ".")
    taken = [int(one.name.partition("@")[2]) for one in _folders(config) if one.name.partition("@")[0] == name]
    return max(taken, default=0) + 1


def sweep(config: Path) -> None:
    """Remove what no drop-in names: folders of a command that was ended, and those before an update.

    Those of a drop-in that cannot be read stay: they are in force once it is corrected.
    """
    for folder in _folders(config):
        name, _, number = folder.name.partition("@")
        file = drop_in_folder(config) / f"{name}{DROP_IN}"
        try:
            named = number_of(file.read_bytes(), file)
        except FileNotFoundError:
            named = 0
        except (OSError, ConfigError):
            continue
        if named != int(number):
            remove_folder(folder)
    for left in packages_folder(config).glob(f"{_UNFINISHED}*"):
        remove_folder(left)


def remove_folder(folder: Path) -> None:
    """Remove a folder of packages, which is read-only to its owner too. Raises ConfigError."""
    if not os.path.lexists(folder):
        return
    with as_config_error("remove", folder):
        remove_tree(folder)


def install_isolated(offering: Offering, config: Path, address: str, number: int, scratch: Path) -> None:
    """Install a wheel, and what it requires besides tlsrt, as the packages of one component. Raises ConfigError.

    `scratch` is a folder for files of pip. The folder appears whole or not at all.
    """
    assert offering.wheel is not None
    target = packages_folder(config)
    with as_config_error("make the folder", target):
        target.mkdir(mode=0o755, exist_ok=True)
        os.chown(target, *owner_of(config))
    staged = target / f"{_UNFINISHED}{os.getpid()}"
    remove_folder(staged)
    _install(offering, staged, scratch)
    with as_config_error("write", staged):
        site = _site_packages(staged)
        check_isolated(site)
        check_brought(offering, site)
        _make_read_only(site, owner_of(config))
        os.sync()  # else a power cut may leave a folder with this name and files without content
        site.rename(isolated_folder(config, address, number)).chmod(0o555)
        sync_folder(target)
    remove_folder(staged)


def _install(offering: Offering, staged: Path, scratch: Path) -> None:
    environment, constraints = scratch / "environment", scratch / "constraints.txt"
    own = _own_distributions()
    _show(own.values(), environment)
    constraints.write_text("".join(f"{one.name}=={one.version}\n" for one in own.values() if one.name != "tlsrt"))
    python = (sys.executable, "-I", "-S", "-B", "-c", _RUN_PIP, str(environment))
    words = ("install", "--no-compile", "--prefix", str(staged), *WHEELS, "--constraint", str(constraints))
    versions = {one.name: one.version for one in own.values()}
    pip(
        *words, str(offering.wheel), what=f"install {offering.distribution}", python=python,
        reason=lambda said: conflict(said, versions),
    )  # fmt: skip


def _own_distributions() -> dict[str, Distribution]:
    """Return tlsrt and what it needs, as they are installed."""
    owner = owners(known_distributions())
    return {owner[name].name: owner[name] for name in sorted(own_names()) if name in owner}


def _show(own: Iterable[Distribution], folder: Path) -> None:
    """Make a folder in which pip finds itself and the metadata of these, and nothing else."""
    spec = find_spec("pip")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"{sys.executable} has no pip: --isolated needs it")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "pip").symlink_to(spec.submodule_search_locations[0])
    for one in own:
        place = folder / f"{one.name.replace('-', '_')}-{one.version}.dist-info"
        place.mkdir()
        (place / "METADATA").write_bytes(one.text())


def conflict(said: str, own: Mapping[str, str]) -> str:
    """Return the sentence for a version that tlsrt does not have, from what pip has printed; "" if it is another."""
    for line in _CONFLICT.findall(said):
        name = re.match(r"[A-Za-z0-9._-]+", line.partition(" depends on ")[2])
        version = own.get(re.sub(r"[-_.]+", "-", name[0]).lower()) if name is not None else None
        if version is not None and name is not None:
            return (
                f"{printable(line, 200)}, and tlsrt itself has {name[0]} {version}, which is in each of its processes: "
                "take a version of the package that can do with that"
            )
    return ""


def _site_packages(staged: Path) -> Path:
    """Return the one folder below a prefix that pip has put packages into. Raises ConfigError."""
    every = {path.parent for path in staged.glob("**/*.dist-info") if (path / "METADATA").is_file()}
    found = {one for one in every if every.isdisjoint(one.parents)}  # others are of what a package bundles
    if len(found) != 1:
        raise ConfigError(f"cannot use what pip has installed: packages lie in {len(found)} folders")
    return found.pop()


def _make_read_only(folder: Path, owner: tuple[int, int]) -> None:
    for here, folders, files in os.walk(folder):
        for path in (os.path.join(here, name) for name in (*folders, *files)):
            os.chown(path, *owner)
            os.chmod(path, 0o555 if os.stat(path).st_mode & stat.S_IXUSR else 0o444)
    os.chown(folder, *owner)
    folder.chmod(0o755)  # it is moved yet, which writes to it


def _folders(config: Path) -> list[Path]:
    folder = packages_folder(config)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [folder / name for name in names if re.fullmatch(r"[^@]+@[0-9]+", name)]
