"""`tlsrt-supervisor top`: another word for `status --follow`."""

from __future__ import annotations

from tlsrt.supervisor.status_command import follow as run

__all__ = ["run"]
