"""A wheel in memory: its name, version and the digest of each file; and one with a release manifest in it. Pure."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser

from tlsrt.config.distributions import normalized
from tlsrt.config.release import NAME, VERSION
from tlsrt.errors import ConfigError
from tlsrt.text import printable

_TOTAL = 2 << 30
ZIP_ERRORS = (  # of zipfile, for what is no zip file or a damaged one
    OSError, EOFError, KeyError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError, zipfile.BadZipFile,
    zipfile.LargeZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wheel:
    """`files` are all but RECORD, which pip writes anew, and the manifest itself."""

    name: str
    version: str
    info: str
    files: Mapping[str, bytes]
    release: bytes
    data: bytes


def metadata_folders(names: Iterable[str]) -> set[str]:
    """Return the folders of metadata right below the root; others are of what is bundled."""
    return {name.partition("/")[0] for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)}


def read_wheel(data: bytes, called: str) -> Wheel:
    """Return what a wheel holds. Raises ConfigError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            names = [member.filename for member in members]
            infos = metadata_folders(names)
            if len(infos) != 1 or len(set(names)) != len(names) or sum(one.file_size for one in members) > _TOTAL:
                raise ConfigError(f"{called} is no wheel: not one folder of metadata, a name twice, or too large")
            [info] = infos
            head = BytesHeaderParser().parsebytes(archive.read(f"{info}/METADATA"))
            name, version = normalized(str(head["Name"])), str(head["Version"])
            if not re.fullmatch(VERSION, version):
                raise ConfigError(f"{called} says that its version is {printable(version, 80)}")
            left = (f"{info}/RECORD", f"{info}/{NAME}")
            if left[0] in names:
                _check_record(archive.read(left[0]), names, called)
            files = {one: hashlib.sha256(archive.read(one)).digest() for one in names if one not in left}
            release = archive.read(left[1]) if left[1] in names else b""
    except (*ZIP_ERRORS, csv.Error) as error:
        raise ConfigError(f"cannot read the wheel {called}: {error}") from None
    return Wheel(name, version, info, files, release, data)


def _check_record(record: bytes, names: Iterable[str], called: str) -> None:
    """Refuse a RECORD that lists what is not in the wheel: pip keeps the line, and removes that file by it later."""
    more = {row[0] for row in csv.reader(record.decode().splitlines()) if row} - {*names}
    if more:
        raise ConfigError(f"the RECORD of {called} lists {printable(min(more), 200)}, which is not in it")


def embedded(data: bytes, wheel: Wheel, release: bytes) -> bytes:
    """Return the same wheel with this manifest in its folder of metadata, and in its RECORD."""
    place, record = f"{wheel.info}/{NAME}", f"{wheel.info}/RECORD"
    digest = base64.urlsafe_b64encode(hashlib.sha256(release).digest()).rstrip(b"=").decode()
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(made, "w") as target:
        for member in archive.infolist():
            if member.filename not in (place, record):
                target.writestr(member, archive.read(member))
        lines = archive.read(record).decode().splitlines() if record in archive.namelist() else []
        lines = [line for line in lines if not line.startswith((f"{place},", f"{record},"))]
        text = "\n".join([*lines, f"{place},sha256={digest},{len(release)}", f"{record},,"]) + "\n"
        for name, content in ((place, release), (record, text.encode())):
            member = zipfile.ZipInfo(name, archive.infolist()[0].date_time)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            target.writestr(member, content)
    return made.getvalue()
