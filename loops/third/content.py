"""Content of files as callers give it."""

from __future__ import annotations

from tlsrt import InvalidArgument


def as_bytes_untrusted(data: str | bytes) -> bytes:
    """Return text as UTF-8, bytes as they are. Raises InvalidArgument for text that is none."""
    if isinstance(data, bytes):
        return data
    try:
        return data.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        raise InvalidArgument("data: the text is not valid Unicode") from None
