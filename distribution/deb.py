"""Build the package of Debian from the wheel, by dpkg-deb alone; the same wheel always gives the same bytes.

    python distribution/deb.py FOLDER [--version VERSION]

Modules go into dist-packages and depend on Debian's own python3-* packages, in the versions that the wheel asks for.
Unit, socket and the files of sysusers.d, tmpfiles.d and the journal's catalog are those of `tlsrt-supervisor install`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from email.message import Message
from email.parser import Parser
from email.utils import formatdate
from pathlib import Path

from dist import build, copy_sources, epoch
from sbom import FILE, text_of
from share import use_rooms

_HERE = Path(__file__).parent / "deb"
_SCRIPTS = ("postinst", "prerm", "postrm")
_REVISION = "1"
_DEBIAN = {  # the packages of Debian by the names of PyPI
    "cryptography": "python3-cryptography", "PyYAML": "python3-yaml", "pyzmq": "python3-zmq",
    "msgpack": "python3-msgpack", "psutil": "python3-psutil", "h11": "python3-h11",
}  # fmt: skip
_PLACES = {"zsh/site-functions": "zsh/vendor-completions"}  # of Debian, below share/
_ONE_FILE = frozenset({"_cffi_backend"})  # modules of Debian's that are no folder
_KINDS = ("aarch64", "x86_64")  # of machines
_COMMAND = "#!/usr/bin/python3 -I\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
_REQUIRED = re.compile(r"^([A-Za-z0-9]+)>=([0-9.]+)(?:; extra == \"(\w+)\")?$")
_DOCUMENTS = ("docs", "examples", "README.md", "SECURITY.md", "PROTOCOL.md")
_CONTROL = """\
Package: tlsrt
Version: {version}
Architecture: all
Maintainer: The tlsrt maintainers <maintainers@tlsrt.invalid>
Installed-Size: {size}
Depends: {depends}
Recommends: {recommends}
Suggests: python3-pip
Section: admin
Priority: optional
Description: secure runtime for hosts: sandboxed loops behind one TLS door
 tlsrt runs the software of a host as a handful of processes that do not trust
 one another. Each runs in a mandatory sandbox with only its own keys, and
 reaches the others only through one reference monitor, in frames that carry
 an encrypted, signed, expiring token. The outside has one door, a mutual
 TLS 1.3 server.
 .
 This package brings the commands tlsrt-supervisor and tlsrt, the unit and
 socket of systemd, the modules for components of your own, and the documents.
"""


def build_deb(wheel: Path, out: Path, sources: Path) -> Path:
    """Build the package of a wheel into a folder; return it."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-deb.") as scratch, zipfile.ZipFile(wheel) as archive:
        tree = Path(scratch, "tree")
        tree.mkdir()
        about = _lay_modules(archive, tree)
        _lay_service(tree)
        _lay_documents(tree, sources, about["Version"])
        _write(tree / "usr/share/doc/tlsrt" / FILE, text_of(wheel))
        version = f"{about['Version']}-{_REVISION}"
        _write(tree / "DEBIAN/control", _control(tree, about.get_all("Requires-Dist", []), version))
        for name in _SCRIPTS:
            text = (_HERE / name).read_text().replace("@VERSION@", version)
            _write(tree / "DEBIAN" / name, text, 0o755)
        _write(tree / "DEBIAN/triggers", triggers_of(_measured()))
        _write(tree / "DEBIAN/conffiles", "/etc/needrestart/conf.d/tlsrt.conf\n")
        files = sorted(path for path in tree.rglob("*") if path.is_file() and path.parent.name != "DEBIAN")
        sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files]  # noqa: S324
        _write(tree / "DEBIAN/md5sums", "".join(line for line in sums if "  etc/" not in line))
        for path in (tree, *tree.rglob("*")):
            os.utime(path, (epoch(), epoch()), follow_symlinks=False)
            if path.is_dir():
                path.chmod(0o755)
        out.mkdir(parents=True, exist_ok=True)
        made = out / f"tlsrt_{version}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--threads-max=1", "--build", str(tree), str(made)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch())}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return made


def _measured() -> list[str]:
    use_rooms()
    from tlsrt.config.import_path import EXTRA, NEEDED, USED

    return [*NEEDED, *EXTRA, *USED]


def triggers_of(modules: Sequence[str]) -> str:
    """Return the triggers: a change of what is measured of Debian's is said at once, not by a start that is refused."""
    names = []
    for module in modules:
        names += [f"{module}.cpython-313-{kind}-linux-gnu.so" for kind in _KINDS] if module in _ONE_FILE else [module]
    paths = ["/usr/lib/python3.13/os.py", *(f"/usr/lib/python3/dist-packages/{name}" for name in names)]
    return "".join(f"interest-noawait {path}\n" for path in sorted(paths))


def _lay_modules(archive: zipfile.ZipFile, tree: Path) -> Message:
    """Lay modules, commands, man pages and completion; return the wheel's metadata."""
    about, entries = Message(), ""
    for name in sorted(archive.namelist()):
        text, (top, _, below) = archive.read(name), name.partition("/")
        if top.endswith(".data"):
            _lay_shared(tree, below.removeprefix("data/share/"), text)
            continue
        if top.endswith(".dist-info"):
            if below not in ("METADATA", "RELEASE", "entry_points.txt", "top_level.txt"):
                continue  # what only pip uses: RECORD, and WHEEL; the licence is in the folder of documents
            about = Parser().parsestr(text.decode()) if below == "METADATA" else about
            entries = text.decode() if below == "entry_points.txt" else entries
        _write(tree / "usr/lib/python3/dist-packages" / name, text)
        if below == "METADATA":
            _write(tree / "usr/lib/python3/dist-packages" / top / "INSTALLER", "debian\n")
    for name, module, function in re.findall(r"^([\w-]+) = (tlsrt\.entry):(\w+)$", entries, re.M):
        _write(tree / "usr/bin" / name, _COMMAND.format(module=module, function=function), 0o755)
    return about


def _lay_shared(tree: Path, name: str, text: bytes) -> None:
    for usual, place in _PLACES.items():
        name = name.replace(usual, place)
    if name.startswith("man/"):
        _zip(tree / "usr/share" / f"{name}.gz", text)
    else:
        _write(tree / "usr/share" / name, text)


def _lay_service(tree: Path) -> None:
    use_rooms()
    from tlsrt.supervisor.cli.service.packaged import packaged_files
    from tlsrt.supervisor.cli.service.update_units import update_files

    for file in (*packaged_files(), *update_files()):
        _write(tree / file.path.relative_to("/"), file.text or "")
    _write(tree / "etc/needrestart/conf.d/tlsrt.conf", (_HERE / "needrestart.conf").read_text())


def _lay_documents(tree: Path, sources: Path, version: str) -> None:
    place = tree / "usr/share/doc/tlsrt"
    for name in _DOCUMENTS:
        paths = [sources / name] if (sources / name).is_file() else sorted((sources / name).rglob("*"))
        for path in paths:
            if path.is_file():
                _write(place / path.relative_to(sources), path.read_bytes())
    _write(place / "copyright", (_HERE / "copyright").read_text())
    _zip(place / "changelog.gz", (sources / "CHANGELOG.md").read_bytes())
    entry = f"  * Built from the release {version}; changelog.gz has what is new.\n\n"
    signed = f" -- The tlsrt maintainers <maintainers@tlsrt.invalid>  {formatdate(epoch())}\n"
    _zip(
        place / "changelog.Debian.gz",
        f"tlsrt ({version}-{_REVISION}) unstable; urgency=medium\n\n{entry}{signed}".encode(),
    )


def _control(tree: Path, required: list[str], version: str) -> str:
    depends, recommends = ["python3 (>= 3.11)"], []
    for line in required:
        if found := _REQUIRED.match(line):
            wanted = f"{_DEBIAN.get(found[1], '')} (>= {found[2]})"
            if not found[3]:
                depends.append(wanted)
            elif found[3] == "http":
                recommends.append(wanted)
        elif "extra ==" not in line:
            sys.exit(f"cannot build the package: {line!r} is more than a name and a lowest version; teach _REQUIRED")
    assert not any(one.startswith(" ") for one in depends), "a requirement without a package of Debian"
    size = sum(-(-path.stat().st_size // 1024) for path in tree.rglob("*") if path.is_file())
    depends.append("systemd | systemd-standalone-sysusers | systemd-sysusers")
    return _CONTROL.format(version=version, size=size, depends=", ".join(depends), recommends=", ".join(recommends))


def _write(path: Path, text: str | bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)


def _zip(path: Path, text: bytes) -> None:
    _write(path, gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version")
    asked = parser.parse_args()
    if shutil.which("dpkg-deb") is None:
        sys.exit("cannot build the package: there is no dpkg-deb; `apt-get install dpkg` brings it")
    with tempfile.TemporaryDirectory(prefix="tlsrt-sources.") as folder:
        [built] = build(asked.folder, asked.version, what=("wheel",))
        print(build_deb(built, asked.folder, copy_sources(Path(folder), asked.version)))
