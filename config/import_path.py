"""Where a process of the runtime imports from: the standard library and the folders of packages, and no more.

    python -I -S -B -X pycache_prefix=FOLDER -c "<this path> <the program>"

`-S` switches `site` off, so no line of code in a `.pth` file, no `sitecustomize` and no `usercustomize` runs. The
folders that `site` would have found are added by hand, with those that a `.pth` file only names. From them nothing is
imported but the packages that are measured (`MeasuredPackages`), and byte code comes from a folder of this host, which
`seal` fills and the boot token vouches for; a `__pycache__` beside a source is never read.

A development checkout is found by an editable install, which is code in a `.pth` file. There these run, every package
is found, and byte code lies beside its source: a checkout is no place for secrets.

Light: the launcher imports this.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_PTH_BYTES = 1 << 16
# Damaged byte code, as after a power failure, must not end a start before the authority can say what is damaged: its
# source is compiled then. Before the first import of ours, so as text.
_CAREFUL = """
import sys
from importlib import machinery
class Careful(machinery.SourceFileLoader):
    def get_code(self, fullname):
        try:
            return super().get_code(fullname)
        except (EOFError, ValueError, TypeError):
            path = self.get_filename(fullname)
            return self.source_to_code(self.get_data(path), path)
sys.path_hooks[-1] = machinery.FileFinder.path_hook(
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES), (Careful, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
sys.path_importer_cache.clear()
"""
_CODE = ("import ", "import\t")  # how a line of code in a .pth file begins, as in site.addpackage


def package_folder() -> Path:
    """Return the folder of the package tlsrt."""
    return Path(os.path.abspath(__file__)).parent.parent  # by the link, in a checkout


def is_checkout() -> bool:
    """Tell whether tlsrt runs from a development checkout: beside a pyproject.toml."""
    return (package_folder().parent / "pyproject.toml").is_file()


def bytecode_folder(config: Path) -> Path:
    """Return where the byte code of a host lies, beside its configuration."""
    return config.with_name(f"{config.stem}.bytecode")


def library_folders() -> list[str]:
    """Return the entries of sys.path that are the standard library's."""
    import sysconfig  # which imports more than the launcher wants to pay for

    stdlib = sysconfig.get_path("stdlib")
    platstdlib = sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})
    own = {stdlib, platstdlib, os.path.join(stdlib, "lib-dynload"), os.path.join(platstdlib, "lib-dynload")}
    return [entry for entry in sys.path if entry in own or entry.endswith(".zip")]


def package_folders() -> list[Path]:
    """Return the folders that packages are imported from, in order, in whichever process this is asked.

    The environment's own, and those that a .pth file in them names; never the current folder, PYTHONPATH, or the
    user's, but where tlsrt itself lies there. Virtual environments have one, Debian has several.
    """
    if sys.flags.no_site:
        library = library_folders()
        return [Path(entry) for entry in sys.path if entry and entry not in library]
    folders = [Path(folder) for folder in site.getsitepackages()]
    if not is_checkout() and package_folder().parent not in folders:
        folders.insert(0, package_folder().parent)
    found = [folder for folder in folders if folder.is_dir()]
    return list(dict.fromkeys([*found, *(named for folder in found for named in _named_in(folder))]))


def inner_command(program: str, bytecode: Path | None = None) -> list[str]:
    """Return the words that start an interpreter with this import path, which runs a program text."""
    words = [sys.executable, "-I", "-S", "-B"]
    if bytecode is not None and not is_checkout():
        words += ["-X", f"pycache_prefix={bytecode}"]
    return [*words, "-c", f"{_set_up()}\n{program}"]


def _set_up() -> str:
    folders = [str(folder) for folder in package_folders()]
    if is_checkout():
        return f"import site\nfor folder in {folders!r}: site.addsitedir(folder)"
    # By its folder only: what is imported first must be found before any finder of ours is there.
    return (
        f"{_CAREFUL}sys.path += {folders!r}\n"
        "from tlsrt.config.import_path import only_measured; only_measured()"
    )  # fmt: skip


def _named_in(folder: Path) -> list[Path]:
    """Return the folders that .pth files in `folder` name. Lines of code in them are passed over."""
    found: list[Path] = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".pth") and not name.startswith("."):
            with open(folder / name, "rb") as file:
                lines = file.read(_PTH_BYTES).decode("utf-8", "replace").splitlines()
            paths = [line.strip() for line in lines if line.strip() and not line.startswith(("#", *_CODE))]
            found += [folder / path for path in paths if (folder / path).is_dir()]
    return found


class MeasuredPackages(PathFinder):
    """Finds the standard library first, and in the folders of packages only what is measured.

    So a module that was put beside the packages neither takes the place of one of the library, nor of one that some
    package would import if it were there.
    """

    names: frozenset[str] = frozenset()
    standard: Sequence[str] = ()
    folders: Sequence[str] = ()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module, or None. importlib.abc.MetaPathFinder."""
        if path is not None:
            return super().find_spec(fullname, path, target)
        found = super().find_spec(fullname, cls.standard, target)
        if found is None and fullname in cls.names:
            found = super().find_spec(fullname, cls.folders, target)
        return found


NEEDED = ("cryptography", "msgpack", "psutil", "yaml", "zmq")
EXTRA = ("h11", "dbus_fast", "zeroconf", "ifaddr")  # by an extra of tlsrt: measured where it is installed
USED = ("_cffi_backend", "_yaml", "cffi", "pycparser")  # by the needed ones; some builds come without


def only_measured() -> None:
    """Let this process import no package but tlsrt and what it needs, until `also_measured` says which others."""
    MeasuredPackages.standard = library_folders()
    MeasuredPackages.folders = [str(folder) for folder in package_folders()]
    MeasuredPackages.names = frozenset(("tlsrt", *NEEDED, *EXTRA, *USED))
    sys.meta_path[:] = [MeasuredPackages if finder is PathFinder else finder for finder in sys.meta_path]


def own_names() -> frozenset[str]:
    """Return the packages that are tlsrt's own wherever it looks: itself, and what is there of what it needs."""
    here = [str(folder) for folder in package_folders()]
    there = (name for name in (*EXTRA, *USED) if PathFinder.find_spec(name, here) is not None)
    return frozenset(("tlsrt", *NEEDED, *there))


class IsolatedPackages:
    """Finds what is tlsrt's where tlsrt lies, then the standard library, then the packages of one component.

    Nothing else of the environment is found, and nothing of the component takes the place of what comes before it.
    """

    def __init__(self, folder: Path, own: Mapping[str, ModuleSpec]) -> None:
        """`own` are the specs of tlsrt's packages, found already: of the folder around them no process sees more."""
        self._folder = [str(folder)]
        self._own = own
        self._standard = library_folders()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module, or None. importlib.abc.MetaPathFinder."""
        if path is not None:
            return PathFinder.find_spec(fullname, path, target)
        if fullname in self._own:
            return self._own[fullname]
        standard = PathFinder.find_spec(fullname, self._standard, target)
        return standard or PathFinder.find_spec(fullname, self._folder, target)


def only_isolated(folder: Path) -> None:
    """Let this process import tlsrt, what that needs, and the packages in a folder; forget what else was imported."""
    found = ((name, _spec_of(name)) for name in ("tlsrt", *NEEDED, *EXTRA, *USED))
    own = {name: spec for name, spec in found if spec is not None}
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, IsolatedPackages(folder, own)]
    sys.path[:] = [*library_folders(), str(folder)]
    for name in list(sys.modules):
        top = name.partition(".")[0]
        if top not in own and top not in sys.stdlib_module_names and getattr(sys.modules[name], "__file__", None):
            del sys.modules[name]


def _spec_of(name: str) -> ModuleSpec | None:
    from importlib.util import find_spec  # which only this needs

    loaded = sys.modules.get(name)
    return find_spec(name) if loaded is None else loaded.__spec__


def also_measured(names: Iterable[str]) -> None:
    """Let these packages be imported too: they are measured."""
    MeasuredPackages.names = MeasuredPackages.names.union(names)
