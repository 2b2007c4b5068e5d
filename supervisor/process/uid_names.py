"""Names for uids of processes, which dbus-daemon(1) asks for: it closes the connection of a uid without one.

Where the host looks names up in systemd's user records (nss-systemd(8)), one is put into /run/userdb for as long as
the host runs; else it is said which user is to be added.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

RECORDS = Path("/run/userdb")
_LONGEST = 31  # useradd(8)


def name_for(process: str, uid: int) -> str:
    """Return the name of a uid: tlsrt-forth-battery. Pure."""
    name = f"tlsrt-{process.replace('.', '-')}"
    return name if len(name) <= _LONGEST else f"tlsrt-{uid}"


def has_name(passwd: str, uid: int) -> bool:
    """Tell whether a uid has an entry in the text of passwd(5). Pure."""
    return any(line.split(":")[2:3] == [str(uid)] for line in passwd.splitlines())


def looks_up_records(nsswitch: str) -> bool:
    """Tell whether users are looked up in systemd's records, by the text of nsswitch.conf(5). Pure."""
    lines = (line.partition("#")[0].split() for line in nsswitch.splitlines())
    return any(words and words[0] == "passwd:" and "systemd" in words[1:] for words in lines)


def records_of(name: str, uid: int) -> dict[str, str]:
    """Return the user and group record of a uid, file name -> text. Pure."""
    user = {"userName": name, "uid": uid, "gid": uid, "homeDirectory": "/", "shell": "/usr/sbin/nologin",
            "disposition": "system", "locked": True}  # fmt: skip
    group = {"groupName": name, "gid": uid, "disposition": "system"}
    return {f"{name}.user": json.dumps(user), f"{name}.group": json.dumps(group)}


class UidNames:
    """The names that this supervisor has given."""

    def __init__(self, etc: Path = Path("/etc"), records: Path = RECORDS) -> None:
        self._etc = etc
        self._records = records
        self._written: set[Path] = set()

    def give(self, process: str, uid: int, say: Callable[[str], None]) -> None:
        """See that a uid has a name; `say` gets a sentence if it has none."""
        if has_name(self._text("passwd"), uid):
            return
        name = name_for(process, uid)
        problem = "its names are not looked up in user records"
        if looks_up_records(self._text("nsswitch.conf")):
            try:
                self._write(name, uid)
                return
            except OSError as error:
                problem = f"cannot write {error.filename}: {error.strerror}"
        say(
            f"uid {uid} has no name on this host ({problem}), and dbus-daemon lets in none without: "
            f"useradd --system --uid {uid} --user-group --no-create-home --home-dir / {name}"
        )

    def take_away(self) -> None:
        """Remove all."""
        for path in self._written:
            path.unlink(missing_ok=True)
        self._written.clear()

    def _write(self, name: str, uid: int) -> None:
        """Write the records of a uid, but touch none of others: one under its uid is its name. Raises OSError."""
        with suppress(FileExistsError):
            self._records.mkdir()
            self._records.chmod(0o755)  # whatever the umask is
        for one in (name, f"tlsrt-{uid}"):
            files = {self._records / file: text for file, text in records_of(one, uid).items()}
            links = {path.with_name(f"{uid}{path.suffix}"): path.name for path in files}
            if all(_is_free(path, text) for path, text in files.items()) and all(map(_leads_to, links, links.values())):
                break
        else:
            if os.path.lexists(link := self._records / f"{uid}.user"):
                return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(link.with_name(f"{name}.user")))
        self._written |= files.keys() | links.keys()
        for path, text in files.items():
            with suppress(FileExistsError):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
                with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                    os.fchmod(out.fileno(), 0o644)
                    out.write(text)
        for link, target in links.items():
            with suppress(FileExistsError):
                link.symlink_to(target)

    def _text(self, name: str) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return (self._etc / name).read_text(encoding="utf-8")
        return ""


def _is_free(path: Path, text: str) -> bool:
    """Tell whether a record is not there, or is the one that would be written. Raises OSError."""
    if not os.path.lexists(path):
        return True
    return path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode()


def _leads_to(link: Path, target: str) -> bool:
    """Tell whether a link is not there, or leads where it would. Raises OSError."""
    return not os.path.lexists(link) or (link.is_symlink() and os.readlink(link) == target)
