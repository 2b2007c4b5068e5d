"""The journal of a change of drop-ins: what a command that is ended in the middle, or a power cut, leaves to be done.

    components.d/.change      the content of each file before and after, and digests of the boot token

Names are of files in that folder, `./NAME` is the configuration beside it, `NAME.d/...` one of its drop-ins, and
`/...` a certificate or key that the configuration names.
It is written before the first file changes and removed after the last. The boot token decides what becomes of a change
that was interrupted: as long as it is the one from before, the files are put back; once it vouches for the new ones,
they are completed. A change that is being taken back says so before its first step (`is_undone`), and is taken back.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import fcntl
import glob
import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tlsrt.config import files
from tlsrt.config.bytecode import forget_bytecode
from tlsrt.config.drop_ins import APPROVED, DROP_IN, JOURNAL, drop_in_folder
from tlsrt.config.files import as_config_error, open_folder, owner_of, read_bounded, sync_folder
from tlsrt.config.init import sealed_bytecode
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.backup.journal import complete
from tlsrt.supervisor.cli.exchange import config_of, config_path, say, trusted_path
from tlsrt.text import printable

NAME = JOURNAL
_NAME = re.compile(r"[^./][^/]*\.(?:yaml|manifest)|\./[^./][^/]*|[^./][^/]*\.d/[^./][^/]*\.yaml|/[^\0]+")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Content = Mapping[str, bytes | None]  # name of a file in the folder of drop-ins -> what it shall hold; None: no file
_BYTES_MAX = 64 << 20
_TOKEN_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Journal:
    """A change: content before and after, and the digests of the boot token before and, once it is there, after."""

    before: Content
    after: Content
    token_before: str
    token_after: str = ""
    token: str = ""  # the path of the boot token: a configuration that is half changed may not be readable
    installed: tuple[str, ...] = ()  # distributions that the change brings, and that were not there before it
    private: tuple[str, ...] = ()  # names of files that hold a key
    what: str = ""  # that is changed, for people; else it follows from the names
    is_undone: bool = False  # it was refused, and is being taken back

    def is_back(self, token: str) -> bool:
        """Tell whether the boot token with this digest is for the state from before. Pure."""
        return self.is_undone or token == self.token_before or (bool(self.token_after) and token != self.token_after)

    def wanted(self, token: str) -> Content:
        """Return the content that fits the boot token with this digest. Pure."""
        return self.before if self.is_back(token) else self.after

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        return json.dumps({**asdict(self), "before": _text(self.before), "after": _text(self.after)}).encode()


def parse_journal(data: bytes) -> Journal:
    """Return what a file says. Raises ConfigError."""
    try:
        tree = json.loads(data)
        before, after = _content(tree["before"]), _content(tree["after"])
        tokens = str(tree["token_before"]), str(tree["token_after"]), str(tree.get("token", ""))
        private, what = tuple(map(str, tree.get("private", ()))), str(tree.get("what", ""))
        return Journal(
            before,
            after,
            *tokens,
            _distributions(tree.get("installed", ())),
            private,
            what,
            tree.get("is_undone", False) is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise ConfigError(f"the record of a change, {NAME}, is damaged: remove it, and run `seal` to accept") from None


def _text(content: Content) -> dict[str, str | None]:
    return {name: None if data is None else base64.b64encode(data).decode() for name, data in content.items()}


def _content(tree: Mapping[str, str | None]) -> dict[str, bytes | None]:
    if any(not _NAME.fullmatch(name) for name in tree):
        raise ValueError
    return {name: None if text is None else base64.b64decode(text, validate=True) for name, text in tree.items()}


def _distributions(named: Sequence[str]) -> tuple[str, ...]:
    if not all(_DISTRIBUTION.fullmatch(name) for name in named):
        raise ValueError
    return tuple(named)


def token_digest(path: Path) -> str:
    """Return the digest of the boot token; "" where there is none. Raises ConfigError."""
    if not os.path.lexists(path):
        return ""
    return hashlib.sha256(read_bounded(path, _TOKEN_MAX, "the boot token")).hexdigest()


def write_journal(folder: Path, journal: Journal, owner: tuple[int, int]) -> None:
    """Write it, to last. Raises ConfigError."""
    data = journal.encode()
    if len(data) > _BYTES_MAX:
        raise ConfigError(f"a change of more than {_BYTES_MAX} bytes cannot be made at once: make it in parts")
    files.replace(folder / NAME, data, 0o600, owner)


def write_content(folder: Path, content: Content, owner: tuple[int, int], private: Collection[str] = ()) -> None:
    """Write or remove these files, to last; those that are `private` hold a key. Raises ConfigError."""
    for name, data in content.items():
        path = place_of(folder, name)
        if data is None:
            with as_config_error("remove", path), suppress(FileNotFoundError):
                os.unlink(path)
        else:
            _make_folder(path.parent, owner)
            files.replace(path, data, 0o600 if name in private else _mode_of(path), owner)
    for one in {folder, *(place_of(folder, name).parent for name in content)}:
        if one.is_dir():
            sync_folder(one)


def place_of(folder: Path, name: str) -> Path:
    """Return where a file of a change lies; `folder` is that of components."""
    return folder.parent / name if "/" in name else folder / name


def _make_folder(folder: Path, owner: tuple[int, int]) -> None:
    with as_config_error("make the folder", folder), suppress(FileExistsError):
        os.mkdir(folder, 0o755)
        os.chown(folder, *owner)


def _mode_of(path: Path) -> int:
    """Return the mode of a file that is replaced; one that is new is for all to read, as no secret is in it."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return 0o644


def clear_left(folder: Path) -> None:
    """Remove files that were not finished; the lock is held. Raises ConfigError."""
    with as_config_error("remove", folder):
        for path in folder.glob(".*.new"):
            path.unlink(missing_ok=True)


def recover(config_path: Path) -> str:
    """Put back or complete a change that was interrupted, if no command works at it; return what was done, or "".

    Raises ConfigError for a record that cannot be used, or one that another user could have written.
    """
    folder = drop_in_folder(config_path)
    if not os.path.lexists(folder / NAME):
        return ""
    check_trusted(folder / NAME, "the record of a change", trusted_uids())
    with as_config_error("open", folder):
        descriptor = open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not files.is_at(descriptor, folder) or not os.path.lexists(folder / NAME):
            return ""  # a command has ended just now
        return _recover(folder, config_path)
    except BlockingIOError:
        return ""  # it is at work
    finally:
        os.close(descriptor)


def whole_config(arguments: argparse.Namespace) -> Config:
    """Return the configuration, after the recovery from what was interrupted. Raises ConfigError."""
    if done := complete(config_path(arguments)):
        say(done)
    if done := recover(trusted_path(arguments, writes=True)):
        say(done)
    return config_of(arguments, writes=True)


def _recover(folder: Path, config_path: Path) -> str:
    journal = parse_journal(read_bounded(folder / NAME, _BYTES_MAX, "the record of a change"))
    token = Path(journal.token) if journal.token else load_config(config_path).boot_token
    digest = token_digest(token)
    wanted, is_back = journal.wanted(digest), journal.is_back(digest)
    write_content(folder, wanted, owner_of(config_path), journal.private)
    left = _remove_installed(journal.installed) if is_back else ()
    config = load_config(config_path)
    if is_back and journal.token_after and digest == journal.token_after:
        _seal_again(config)  # the host that has refused the change was sealed with it
    forget_bytecode(config, sealed_bytecode(config))  # of which some may be of the other state
    clear_left(folder)
    for path in (token, *(place_of(folder, name) for name in wanted)):
        for unfinished in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
            unfinished.unlink(missing_ok=True)
    files.remove(folder / NAME)
    if not wanted and journal.installed and not left:
        done = "taken back" if is_back else "completed"
        return f"an installation of {', '.join(journal.installed)} was interrupted before, and was {done}"
    if not wanted:
        return "an installation of packages was interrupted before, and stays: see `tlsrt-supervisor seal --diff`"
    if journal.what:
        names = [printable(journal.what, 80)]
    elif any("/" in name for name in wanted):
        names = ["the configuration"]
    else:
        names = sorted(name.removesuffix(DROP_IN).replace(".", "/", 1) for name in wanted if name.endswith(DROP_IN))
    names = names or sorted(name.removesuffix(APPROVED).replace(".", "/", 1) for name in wanted)
    done = "was put back" if is_back else "was completed"
    stays = f"; of it {', '.join(left)} stays installed: remove it with pip" if left else ""
    return f"a change of {', '.join(names)} was interrupted before, and {done}{stays}"


def _seal_again(config: Config) -> None:
    """Seal a host whose change was taken back, as the command that took it back would have. Raises ConfigError."""
    from tlsrt.supervisor.cli.setup import renew_boot_token
    from tlsrt.supervisor.launch.fitting import fitting

    renew_boot_token(fitting(config))


def _remove_installed(distributions: Sequence[str]) -> list[str]:
    if not distributions:
        return []
    from tlsrt.supervisor.cli.component.wheel import remove_all

    return remove_all(distributions)
