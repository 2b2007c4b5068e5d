"""Packages of components before they are installed: a wheel, looked at without running anything of it.

A wheel is a zip file (PEP 427); its metadata name what it brings. A folder of sources is made into one by pip, which
runs what the folder says of its own build: that is why a wheel is the better gift of a stranger.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

from tlsrt.config.distributions import Distribution, installed, normalized, owners
from tlsrt.config.drop_ins import ALONE
from tlsrt.config.files import as_config_error, read_bounded
from tlsrt.config.import_path import EXTRA, NEEDED, USED, is_checkout, package_folders
from tlsrt.config.manifest import GROUP, MANIFEST_MAX, manifest_of_entry, path_in, top_level
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.release_wheel import ZIP_ERRORS, metadata_folders
from tlsrt.text import printable

_METADATA_MAX = 1 << 20
_PIP = ("--disable-pip-version-check", "--no-input")
WHEELS = ("--only-binary", ":all:")  # what is no wheel would run code of its own to become one, as the operator
_LINES_SHOWN = 3
_MANIFESTS = (".yaml", ".yml")  # that come alone
_NO_SOURCES = (".git", ".hg", ".tox", ".venv", "venv", "__pycache__", "build", "dist", "*.egg-info")


@dataclass(frozen=True, slots=True)
class Offer:
    """A component that a distribution brings: its package, the name and the bytes of its manifest, where these lie."""

    package: str
    name: str
    manifest: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class Offering:
    """A distribution with components. `wheel` is what is still to be installed, None for what is."""

    distribution: str
    version: str
    offers: tuple[Offer, ...]
    wheel: Path | None


def offering_of(source: str, folder: Path, *, isolated: bool = False) -> Offering:
    """Return what a folder, a wheel, an installed distribution or one of the package index brings.

    A file of YAML is a manifest without a package, for a program. `folder` is an empty one for files of pip. What
    becomes `isolated` comes as a wheel in any case, and may be of a distribution that is installed. Raises ConfigError.
    """
    if source.endswith(_MANIFESTS):
        if isolated:
            raise ConfigError(f"{source} is a manifest alone, for a program: it has no packages; remove --isolated")
        path = Path(source)
        with as_config_error("read", path):
            data = read_bounded(path, MANIFEST_MAX, "the manifest")
        return Offering(path.name, "", (Offer("", ALONE, data, path),), None)
    if os.sep in source or source.endswith(".whl") or source == ".":
        path = Path(source)
        if not path.exists():
            raise ConfigError(f"there is no {source}: name a folder with a pyproject.toml, a wheel, or a package")
        if path.is_dir() and not (path / "pyproject.toml").is_file():
            raise ConfigError(
                f"{source} has no pyproject.toml: name the folder of a Python package's sources, or a wheel"
            )
        return _wheel(path if path.suffix == ".whl" else _built(_copied(path, folder), folder, source), isolated)
    found = None if isolated else known_distributions().get(normalized(source))
    if found is not None:
        return installed_offering(found)
    pip("download", "--no-deps", *WHEELS, "--dest", str(folder), source, what=f"get a wheel of {source}")
    return _wheel(_only_wheel(folder, source), isolated)


def install(offering: Offering) -> None:
    """Install a wheel beside tlsrt, with what it requires; then its manifests are those that were shown.

    Raises ConfigError.
    """
    if offering.wheel is None:
        return
    what, wheel = f"install {offering.distribution}", str(offering.wheel)
    before_it = known_distributions().get(normalized(offering.distribution))
    pip("install", "--no-compile", "--upgrade", *WHEELS, wheel, what=what)
    if before_it is not None and before_it.version == offering.version:  # which pip passes over, also if it is another
        pip("install", "--no-compile", "--no-deps", "--force-reinstall", wheel, what=what)
    check_brought(offering)


def check_brought(offering: Offering, site: Path | None = None) -> None:
    """Refuse manifests that are not those which were shown; `site` is where it was installed. Raises ConfigError."""
    known = known_distributions() if site is None else installed([site])
    present = installed_offering(known[normalized(offering.distribution)])
    before = {(one.package, one.name): one.manifest for one in offering.offers}
    if {(one.package, one.name): one.manifest for one in present.offers} != before:
        raise ConfigError(f"what was installed as {offering.distribution} is not what was shown: nothing was added")


def uninstall(distribution: str) -> None:
    """Remove a distribution. Raises ConfigError."""
    pip("uninstall", "--yes", distribution, what=f"uninstall {distribution}")


def remove_all(distributions: Sequence[str]) -> list[str]:
    """Uninstall what a change had brought; return what is there yet. What it required stays, and is used by nothing."""
    for name in distributions:
        if normalized(name) in known_distributions():
            with suppress(ConfigError):
                uninstall(name)
    return [name for name in distributions if normalized(name) in known_distributions()]


def by_package() -> Mapping[str, Distribution]:
    """Return the installed distribution that each package belongs to; this reads the metadata of all."""
    return owners(known_distributions())


def distribution_of(package: str) -> Distribution | None:
    """Return the installed distribution that a package belongs to."""
    return by_package().get(package)


def known_distributions() -> dict[str, Distribution]:
    """Return the distributions that are installed beside tlsrt, by name."""
    return installed(map(Path, sys.path) if is_checkout() else package_folders())


def installed_offering(one: Distribution, *, may_be_empty: bool = False) -> Offering:
    """Return what an installed distribution brings. Raises ConfigError, also for nothing unless that `may_be_empty`."""
    entries = _entries(_read(one.metadata / "entry_points.txt"))
    offering = Offering(
        one.name, one.version, offers_at(one.metadata.parent, entries, f"{one.name} {one.version}"), None
    )
    return offering if may_be_empty else _checked(offering)


def offers_at(folder: Path, entries: Sequence[tuple[str, str]], whose: str) -> tuple[Offer, ...]:
    """Return the manifests that entry points name, of packages in a folder. Raises ConfigError."""
    offers: list[Offer] = []
    for package, name in entries:
        path = folder / path_in(package, name)
        if not path.is_file():
            raise ConfigError(f"{whose} names the manifest {path_in(package, name)}, which is not there")
        offers.append(Offer(package, name, _bounded(path.read_bytes(), name), path))
    return tuple(offers)


def _wheel(path: Path, isolated: bool) -> Offering:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            info = _metadata_folder(names, path)
            text = _member(archive, f"{info}/METADATA", _METADATA_MAX + 1)
            if len(text) > _METADATA_MAX:
                raise ConfigError(f"the metadata of {path.name} are larger than {_METADATA_MAX} bytes")
            head = BytesHeaderParser().parsebytes(text)
            _check_requirements(map(str, head.get_all("Requires-Dist", ())), str(head["Name"]))
            listed = f"{info}/entry_points.txt"
            entries = _entries(_member(archive, listed, _METADATA_MAX)) if listed in names else []
            known = {} if isolated else known_distributions()
            known.pop(normalized(str(head["Name"])), None)
            _check_members(
                names, info, {top_level(package) for package, _ in entries}, str(head["Name"]), owners(known)
            )
            offers: list[Offer] = []
            for package, name in entries:
                place = path_in(package, name)
                if str(place) not in names:
                    raise ConfigError(
                        f"{path.name} names the manifest {place}, and has none: list it as data of the package"
                    )
                data = _bounded(_member(archive, str(place), MANIFEST_MAX + 1), name)
                offers.append(Offer(package, name, data, place))
    except ZIP_ERRORS as error:
        raise ConfigError(f"cannot read the wheel {path}: {error}") from None
    return _checked(Offering(str(head["Name"]), str(head["Version"]), tuple(offers), path))


def _metadata_folder(names: Sequence[str], path: Path) -> str:
    found = metadata_folders(names)
    if len(found) != 1:
        raise ConfigError(f"{path} is no wheel: it has {len(found)} folders of metadata")
    return found.pop()


def _check_requirements(requirements: Iterable[str], distribution: str) -> None:
    """Refuse a requirement with an address of its own (PEP 508): `--only-binary` is said to the index only.

    pip takes an archive of sources from there, and runs what it says of its build, as root. Raises ConfigError.
    """
    for one in requirements:
        if "@" in one.partition(";")[0]:
            raise ConfigError(
                f"{distribution} requires {printable(one, 200)}, which names an address instead of a version: nothing "
                "was installed"
            )


def _check_members(
    names: Sequence[str], info: str, packages: Collection[str], distribution: str, taken: Mapping[str, Distribution]
) -> None:
    """Refuse what a component's package does not bring: it would run outside of every sandbox, or be another's.

    pip puts each of these in its place, as root: a line of code in a `.pth` file runs in every later command. `taken`
    are the modules of others. Raises ConfigError.
    """
    for name in names:
        top, slash, rest = name.partition("/")
        module = top.partition(".")[0]
        is_own = top == info or module in packages
        if not slash and not top.endswith((".pth", ".py", ".so")):
            continue  # a licence, perhaps: nothing imports it
        if not slash and (top.endswith(".pth") or "customize" in top):
            reason = "runs in every Python of this environment"
        elif top.endswith(".data") and rest:
            reason = "goes to places outside of the package"
        elif module in {"tlsrt", *NEEDED, *USED, *EXTRA} or module in sys.stdlib_module_names:
            reason = f"takes the place of {module}"
        elif not is_own and module in taken:
            reason = f"belongs to {taken[module].name}"
        elif is_own and module in taken and top != info:
            reason = f"belongs to {taken[module].name}, which is installed"
        else:
            continue
        raise ConfigError(f"{distribution} brings {printable(name, 200)}, which {reason}: nothing was installed")


def _checked(offering: Offering) -> Offering:
    if not offering.offers:
        raise ConfigError(
            f"{offering.distribution} {offering.version} brings no component: it has no entry point of {GROUP}"
        )
    return offering


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as file:
        return file.read(most)


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > MANIFEST_MAX:
        raise ConfigError(f"the manifest {name} is larger than {MANIFEST_MAX} bytes")
    return data


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_METADATA_MAX)
    except OSError:
        return b""


def _entries(data: bytes) -> list[tuple[str, str]]:
    """Return package and manifest of every entry point of ours."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(data.decode("utf-8", "replace"))
    except configparser.Error:
        return []
    return [manifest_of_entry(value) for _, value in parser.items(GROUP)] if parser.has_section(GROUP) else []


# pip


def _copied(sources: Path, folder: Path) -> str:
    """Return a copy of a folder of sources: a build leaves files there, which the next one would take along."""
    try:
        shutil.copytree(sources, folder / "sources", symlinks=True, ignore=shutil.ignore_patterns(*_NO_SOURCES))
    except (OSError, shutil.Error) as error:
        raise ConfigError(f"cannot copy {sources}: {error}") from None
    return str(folder / "sources")


def _built(requirement: str, folder: Path, shown: str) -> Path:
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), requirement, what=f"make a wheel of {shown}")
    return _only_wheel(folder, shown)


def _only_wheel(folder: Path, shown: str) -> Path:
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise ConfigError(f"cannot get a wheel of {shown}: pip left {len(found)}")
    return found[0]


def pip(
    *words: str, what: str, python: Sequence[str] = (sys.executable, "-P", "-m", "pip"),
    reason: Callable[[str], str] = lambda said: "",
) -> None:  # fmt: skip
    """Run pip. `reason` makes a sentence of what it has printed, if it can. Raises ConfigError.

    What lies in the working folder is no module to it (`-P`): anybody may have put it there. It inherits the lock of
    the command, which so is held until it ends, also where the command is killed.
    """
    try:
        done = subprocess.run(
            [*python, *_PIP, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, umask=0o022,
            check=False, close_fds=False,
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"cannot {what}: {error.strerror}") from None
    if done.returncode:
        raise ConfigError(f"cannot {what}: {reason(done.stdout + done.stderr) or _reason(done.stderr)}")


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return f"{sys.executable} has no pip: install the package there yourself, then name it"
    if any("for setuptools" in line for line in lines):  # what builds a folder is fetched, whatever is installed
        return "what builds it cannot be fetched: give a wheel, as `pip wheel --no-deps FOLDER` makes it elsewhere"
    errors: Sequence[str] = [line for line in lines if line.startswith("ERROR:")] or lines[-_LINES_SHOWN:]
    return "; ".join(printable(line.removeprefix("ERROR: "), 300) for line in errors[:_LINES_SHOWN]) or "pip failed"
