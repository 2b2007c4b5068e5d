"""tlsrt: a supervisor and secure runtime for Linux hosts. This is its public face.

`Component` and `handler` make a component, `Client` and `AsyncClient` talk to a running host over TLS, and every
error has a type. Names load on first use, so that a command which needs one room does not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tlsrt.errors import (
    Busy,
    CallError,
    Cancelled,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    Denied,
    Failed,
    InvalidArgument,
    MisuseError,
    NotFound,
    OutcomeUnknown,
    ProgramError,
    Quarantined,
    Rejected,
    SandboxError,
    ServerLocked,
    Stale,
    StreamBroken,
    TlsrtError,
    Unavailable,
    WorkerError,
)

if TYPE_CHECKING:
    from tlsrt.bounded_table import BoundedTable, WhenFull
    from tlsrt.channels.client.async_client import AsyncClient
    from tlsrt.channels.client.key_pair import load_key_pair
    from tlsrt.channels.client.sync_client import Client
    from tlsrt.channels.client.tracing import traced
    from tlsrt.channels.control.audit_records import AuditReader, AuditRecord
    from tlsrt.channels.control.host_event import Uevent
    from tlsrt.channels.control.kernel_record import KernelRecord
    from tlsrt.channels.control.log_entries import LogEntry, LogReader
    from tlsrt.channels.control.network_change import NetworkChange
    from tlsrt.channels.control.pressure import Pressure
    from tlsrt.channels.control.process_table import ProcessRow, ProcessTable
    from tlsrt.channels.frames.trace import Trace
    from tlsrt.cron import Cron, parse_cron
    from tlsrt.loops.component.component import Component, handler
    from tlsrt.loops.component.database import Database, Transaction, database
    from tlsrt.loops.component.device import Device
    from tlsrt.loops.component.follow import Gap
    from tlsrt.loops.component.host_archive import HostArchive
    from tlsrt.loops.component.kept_program import KeptProgram
    from tlsrt.loops.component.kept_undo import KeptUndo
    from tlsrt.loops.component.peers import peer
    from tlsrt.loops.component.program import Program, Result
    from tlsrt.loops.component.pubsub import PubSub
    from tlsrt.loops.component.runtime_file import RuntimeFile
    from tlsrt.loops.component.timers import at, every
    from tlsrt.loops.component.validate import Length, Pattern, Range
    from tlsrt.loops.component.worker import worker_of
    from tlsrt.loops.disk_thread import DiskCheck, DiskThread, DiskWork, EachAlone
    from tlsrt.loops.sqlite_content import SqliteContent
    from tlsrt.loops.sqlite_file import SqliteFile

__version__ = "0.1.0"

_LAZY = {
    "Gap": "tlsrt.loops.component.follow",
    "Trace": "tlsrt.channels.frames.trace",
    "traced": "tlsrt.channels.client.tracing",
    "AsyncClient": "tlsrt.channels.client.async_client",
    "Client": "tlsrt.channels.client.sync_client",
    "load_key_pair": "tlsrt.channels.client.key_pair",
    "Cron": "tlsrt.cron",
    "parse_cron": "tlsrt.cron",
    "Component": "tlsrt.loops.component.component",
    "Database": "tlsrt.loops.component.database",
    "Transaction": "tlsrt.loops.component.database",
    "KernelRecord": "tlsrt.channels.control.kernel_record",
    "NetworkChange": "tlsrt.channels.control.network_change",
    "Pressure": "tlsrt.channels.control.pressure",
    "ProcessRow": "tlsrt.channels.control.process_table",
    "ProcessTable": "tlsrt.channels.control.process_table",
    "AuditReader": "tlsrt.channels.control.audit_records",
    "AuditRecord": "tlsrt.channels.control.audit_records",
    "LogEntry": "tlsrt.channels.control.log_entries",
    "LogReader": "tlsrt.channels.control.log_entries",
    "RuntimeFile": "tlsrt.loops.component.runtime_file",
    "Uevent": "tlsrt.channels.control.host_event",
    "database": "tlsrt.loops.component.database",
    "Device": "tlsrt.loops.component.device",
    "HostArchive": "tlsrt.loops.component.host_archive",
    "KeptProgram": "tlsrt.loops.component.kept_program",
    "KeptUndo": "tlsrt.loops.component.kept_undo",
    "Length": "tlsrt.loops.component.validate",
    "Program": "tlsrt.loops.component.program",
    "Range": "tlsrt.loops.component.validate",
    "at": "tlsrt.loops.component.timers",
    "every": "tlsrt.loops.component.timers",
    "Result": "tlsrt.loops.component.program",
    "handler": "tlsrt.loops.component.component",
    "peer": "tlsrt.loops.component.peers",
    "BoundedTable": "tlsrt.bounded_table",
    "WhenFull": "tlsrt.bounded_table",
    "DiskCheck": "tlsrt.loops.disk_thread",
    "DiskThread": "tlsrt.loops.disk_thread",
    "DiskWork": "tlsrt.loops.disk_thread",
    "EachAlone": "tlsrt.loops.disk_thread",
    "PubSub": "tlsrt.loops.component.pubsub",
    "SqliteContent": "tlsrt.loops.sqlite_content",
    "SqliteFile": "tlsrt.loops.sqlite_file",
    "Pattern": "tlsrt.loops.component.validate",
    "worker_of": "tlsrt.loops.component.worker",
}

__all__ = [
    "AsyncClient", "AuditReader", "AuditRecord", "BoundedTable", "Busy", "CallError", "Cancelled", "Client",
    "Component", "ConfigError", "Conflict", "Cron", "Database", "DeadlineExceeded", "Denied", "Device", "DiskCheck",
    "DiskThread", "DiskWork", "EachAlone", "Failed", "Gap", "HostArchive", "InvalidArgument", "KeptProgram",
    "KeptUndo", "KernelRecord", "Length", "LogEntry", "LogReader", "MisuseError", "NetworkChange", "NotFound",
    "OutcomeUnknown", "Pattern", "Pressure", "ProcessRow", "ProcessTable", "Program", "ProgramError", "PubSub",
    "Quarantined", "Range", "Rejected", "Result", "RuntimeFile", "SandboxError", "ServerLocked", "SqliteContent",
    "SqliteFile", "Stale", "StreamBroken", "TlsrtError", "Trace", "Transaction", "Uevent", "Unavailable", "WhenFull",
    "WorkerError", "__version__", "at", "database", "every", "handler", "load_key_pair", "parse_cron", "peer", "traced",
    "worker_of",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a lazy public name (PEP 562)."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'tlsrt' has no attribute {name!r}")
