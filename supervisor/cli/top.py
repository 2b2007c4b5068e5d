"""`tlsrt-supervisor top`: another word for `status --follow`."""

from __future__ import annotations

from tlsrt.supervisor.cli.status import follow as run

__all__ = ["run"]
