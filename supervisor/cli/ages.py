"""How old keys and certificates of a host are, and when they end, as a table of `doctor`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tlsrt.command_line.fitted import fitted_table
from tlsrt.text import duration, printable

_COLUMNS = ("KEY OR CERTIFICATE", "AGE", "ENDS IN", "ENDS")
_NEVER = datetime.max.replace(tzinfo=UTC)


class Age(NamedTuple):
    """A key or a certificate; None for what is not known, or what has no end."""

    what: str
    begins: datetime | None
    ends: datetime | None

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "what": self.what,
            **{key: one and _iso(one) for key, one in (("begins", self.begins), ("ends", self.ends))},
        }


def client_ages(clients: Iterable[Mapping[str, Any]]) -> Iterator[Age]:
    """Yield the newest certificate of each client that is enrolled and not revoked: when it ends."""
    for client in clients:
        ends_ms = max((one["ends_ms"] for one in client.get("certificates", ())), default=0)
        if ends_ms and not client.get("revoked_ms"):
            yield Age(f"client {printable(str(client['name']), 64)}", None, datetime.fromtimestamp(ends_ms / 1000, UTC))


def age_lines(ages: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """Return the table, what ends first at the top."""
    found = sorted(ages, key=lambda one: datetime.fromisoformat(one["ends"]) if one["ends"] else _NEVER)
    rows = [_COLUMNS, *(_row(one, now) for one in found)]
    return fitted_table(rows, least=("AGE", "ENDS"), cut=_COLUMNS[0])


def _row(age: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    begins, ends = (datetime.fromisoformat(age[key]) if age[key] else None for key in ("begins", "ends"))
    left_s = (ends - now).total_seconds() if ends else 0.0
    return (
        str(age["what"]),
        duration(max(0.0, (now - begins).total_seconds())) if begins else "-",
        "-" if ends is None else duration(left_s) if left_s > 0 else "ended",
        f"{ends:%Y-%m-%d %H:%M} UTC" if ends else "-",
    )


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
