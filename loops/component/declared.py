"""What is declared in the body of a class and called through a proxy: peers and workers share this."""

from __future__ import annotations

import typing
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Any

from tlsrt.errors import MisuseError


def annotated_kind(declared: object, name: str, owner: type) -> Any:
    """Return the class in `name: Kind = declared`; None if there is none, or its name says nothing at run time."""
    for base in owner.__mro__:
        if vars(base).get(name) is declared:
            try:
                return typing.get_type_hints(base).get(name)
            except Exception:  # imported for the type checker only
                return None
    return None


def split_upload(
    what: object, args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[list[object], dict[str, object], AsyncIterable[Any] | None]:
    """Return the values of a call, and the upload that is among its arguments. Raises MisuseError for two of them."""
    uploads = [value for value in (*args, *kwargs.values()) if isinstance(value, AsyncIterable)]
    if len(uploads) > 1:
        raise MisuseError(f"cannot call {what}: it is given {len(uploads)} uploads, and one is possible")
    values = [value for value in args if not isinstance(value, AsyncIterable)]
    named = {name: value for name, value in kwargs.items() if not isinstance(value, AsyncIterable)}
    return values, named, uploads[0] if uploads else None
