"""`tlsrt-supervisor audit`: read, verify and export the log; no host has to run."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tlsrt.config import key_schedule
from tlsrt.config.boot_token import HEAD_BYTES, key_version_of
from tlsrt.config.files import open_regular
from tlsrt.config.key_providers import open_master_key, read_master_key
from tlsrt.config.schema import Config
from tlsrt.errors import EX_FAILED, ConfigError, InvalidArgument, PeerError
from tlsrt.supervisor.audit import reader
from tlsrt.supervisor.audit.files import FOLDER
from tlsrt.supervisor.audit.inclusion_proof import check_proof_untrusted, make_proof
from tlsrt.supervisor.audit.open import file_key_of, public_of
from tlsrt.supervisor.audit.record import LogEntry, LogHeader, LogRecord
from tlsrt.supervisor.audit.verified import note_verified
from tlsrt.supervisor.audit.verify import Anchor, VerifyReport, verify
from tlsrt.supervisor.cli.exchange import config_of, say
from tlsrt.supervisor.process.instance_lock import is_held
from tlsrt.supervisor.process.uids import AUTHORITY

_LOOK_S = 0.2  # for what was written meanwhile
_PROOF = {
    "not_here": "no file that is here has this sequence: older files were removed by retention, or moved away",
    "not_a_record": "this is a header or a checkpoint, which are signed themselves: ask for a record",
    "not_signed_yet": "no checkpoint has signed this record yet: ask again in 5 s",
}


def _folder(arguments: argparse.Namespace, config: Config | None = None) -> Path:
    if arguments.folder is not None:
        return Path(arguments.folder)
    return (config or config_of(arguments)).state_dir / AUTHORITY / FOLDER


def tail(arguments: argparse.Namespace) -> int:
    """Print the newest records, and with --follow those that come."""
    folder = _folder(arguments)
    at: tuple[Path, int] | None = None  # up to where what is there was read
    for path, entry in reader.last_records(folder, arguments.count):
        _print(arguments, path, entry)
        at = path, entry.end
    if arguments.follow:
        _follow(arguments, folder, at or _end(folder))
    return 0


def _end(folder: Path) -> tuple[Path, int] | None:
    paths = reader.files_in(folder)
    return (paths[-1], paths[-1].stat().st_size) if paths else None


def _follow(arguments: argparse.Namespace, folder: Path, at: tuple[Path, int] | None) -> None:
    while True:
        for path in reader.files_in(folder):
            if at is not None and path.name < at[0].name:
                continue
            start = at[1] if at is not None and path == at[0] else 0
            at = path, start
            for entry in reader.entries_in(reader.read(path, start), path.name):
                if isinstance(entry.value, LogRecord):
                    _print(arguments, path, entry)
                at = path, start + entry.end
        time.sleep(_LOOK_S)


def _print(arguments: argparse.Namespace, file: Path, entry: LogEntry) -> None:
    assert isinstance(entry.value, LogRecord)
    shown = (
        json.dumps(reader.document_of(file.name, entry))
        if arguments.json
        else reader.line_of(entry.sequence, entry.value)
    )
    print(shown, flush=bool(arguments.follow))


def show(arguments: argparse.Namespace) -> int:
    """Print all that is known of one record."""
    for path in reversed(reader.files_in(_folder(arguments))):
        for entry in reader.entries_in(reader.read(path), path.name):
            if entry.sequence == arguments.sequence:
                print("\n".join(reader.show_lines(path.name, entry)))
                return 0
            if entry.sequence > arguments.sequence:
                break
    raise InvalidArgument(_PROOF["not_here"])


def verify_log(arguments: argparse.Namespace) -> int:
    """Verify the log, or a proof; EX_FAILED if it is not whole."""
    if arguments.proof is not None:
        return _check_proof(arguments)
    config = config_of(arguments) if arguments.key is None or arguments.folder is None else None
    root = _master_root(config) if config is not None and arguments.key is None else None
    trusted = public_of(root) if root is not None else _public_key(arguments.key)
    anchors = arguments.anchors
    folder = _folder(arguments, config)
    here = config if arguments.folder is None else None  # a copy says nothing of a running host
    is_stopped = arguments.closed or (here is not None and not is_held(here.state_dir / "lock"))
    paths = reader.files_in(folder)
    report = verify(
        ((path.name, reader.read(path)) for path in paths), [trusted],
        file_key=_known(root, trusted) if root is not None else lambda header: None, must_be_closed=is_stopped,
        anchors=_anchors_in(anchors) if anchors is not None else (),
        heads=reader.heads_in(folder), may_begin_late=arguments.moved_away, roots=reader.roots_in(folder),
    )  # fmt: skip
    if arguments.json:
        document = {**asdict(report), "is_whole": report.fault is None, "macs": root is not None}
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(_lines(report, with_macs=root is not None)))
    if report.fault is not None:
        say(f"the audit log is not whole: {report.fault}")
        return EX_FAILED
    if here is not None:
        note_verified(here, datetime.now(UTC))
    return 0


def _check_proof(arguments: argparse.Namespace) -> int:
    trusted = _public_key(arguments.key) if arguments.key is not None else public_of(_master_root(config_of(arguments)))
    try:
        proof = reader.parse_proof_untrusted(_text(arguments.proof))
        sequence, record = check_proof_untrusted(proof, [trusted])
    except PeerError as error:
        say(f"invalid proof ({error.reason}): it is not of the log of this key, or it was changed")
        return EX_FAILED
    print(f"proved: {reader.line_of(sequence, record)}")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Print every entry as JSON, or the proof of one."""
    folder = _folder(arguments)
    paths = reader.files_in(folder)
    if arguments.proof is not None:
        try:
            proof = make_proof([reader.read(path) for path in paths], arguments.proof, reader.heads_in(folder))
        except PeerError as error:
            raise InvalidArgument(_PROOF.get(error.reason, "the log does not read: run `audit verify`")) from None
        print(reader.proof_text(proof))
        return 0
    for path in paths:
        for entry in reader.entries_in(reader.read(path), path.name):
            print(json.dumps(reader.document_of(path.name, entry)))
    return 0


def key(arguments: argparse.Namespace) -> int:
    """Print the public key of the log."""
    print(public_of(_master_root(config_of(arguments))).hex())
    return 0


def _master_root(config: Config) -> bytes:
    """Return the root of the log's keys, derived from master_key."""
    token = open_regular(config.boot_token, "the boot token")
    try:
        version = key_version_of(os.pread(token, HEAD_BYTES, 0))
    finally:
        os.close(token)
    master = open_master_key(config.master_key, {0, os.geteuid()}, version)
    try:
        return key_schedule.audit_root(key_schedule.extract(config.install_id, read_master_key(master)))
    finally:
        os.close(master)


def _known(root: bytes, public: bytes) -> Callable[[LogHeader], bytes | None]:
    """Return the MAC keys of files; None for those written under another master_key."""
    key = file_key_of(root)
    return lambda header: key(header) if header.root == public else None


def _anchors_in(path: Path) -> Sequence[Anchor]:
    from tlsrt.supervisor.control.audit_heads import anchors_in  # of the supervisor: slow to import

    return anchors_in(_text(path).splitlines())


def _public_key(path: Path) -> bytes:
    text = _text(path).strip()
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_public_key(text.encode())
            if isinstance(key, Ed25519PublicKey):
                return key.public_bytes_raw()
        elif len(raw := bytes.fromhex(text)) == 32:
            return raw
    except ValueError:
        pass
    raise ConfigError(f"{path} is no public key of an audit log: make it with `tlsrt-supervisor audit key > FILE`")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"cannot read {path}: {why}") from None


def _lines(report: VerifyReport, *, with_macs: bool) -> list[str]:
    what = "signatures, chain and MACs" if with_macs else "signatures and chain, with the public key alone"
    lines = [
        f"verified {what}: {report.files} whole files, sequence {report.first} to {report.last}, "
        f"{report.records} records, {report.checkpoints} signed heads"
    ]
    if report.missing_files:
        lines.append(f"{report.missing_files} files before these are not here, with sequence 1 to {report.first - 1}")
    if report.gone_records and report.fault is None:
        lines.append(f"{report.gone_records} records removed by retention (audit.keep_mb), as a signed record says")
    if report.unsigned and report.fault is None:
        shown = "their MACs are good" if with_macs else "only their MACs protect them, which need master_key"
        lines.append(f"{report.unsigned} entries behind the last signed head: {shown}")
    if report.torn and report.fault is None:
        lines.append(f"{report.torn} bytes of an entry that is being written, or was when the host was killed")
    if report.fault is None:
        lines.append("whole, and ended by FINAL" if report.is_closed else "whole, and goes on")
    return lines
