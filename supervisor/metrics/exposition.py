"""Exposition: rows of metrics as text, OpenMetrics 1.0 or the format 0.0.4 of Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tlsrt.channels.control.figures import BOUNDS_US
from tlsrt.supervisor.metrics.families import FAMILIES, Family, Kind
from tlsrt.supervisor.metrics.samples import Row, Value

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (*(repr(bound / 1e6) for bound in BOUNDS_US), "+Inf")  # seconds


def exposition(rows: Iterable[Row], *, is_openmetrics: bool) -> bytes:
    """Return the whole text, families in the order of the table."""
    of: dict[str, list[tuple[tuple[str, ...], Value]]] = {}
    for name, labels, value in rows:
        of.setdefault(name, []).append((labels, value))
    lines: list[str] = []
    for name, family in FAMILIES.items():
        if name in of:
            lines += _family(family, sorted(of[name]), is_openmetrics)
    if is_openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode("utf-8")


def _family(
    family: Family, rows: list[tuple[tuple[str, ...], Value]], is_openmetrics: bool
) -> Iterator[str]:  # fmt: skip
    kind, name = str(family.kind), family.name
    if not is_openmetrics:  # which knows no info, and has a counter under the name of its series
        name = family.series if family.kind in (Kind.COUNTER, Kind.INFO) else name
        kind = "gauge" if family.kind is Kind.INFO else kind
    yield f"# TYPE {name} {kind}"
    if family.unit and is_openmetrics:
        yield f"# UNIT {name} {family.unit}"
    yield f"# HELP {name} {escaped(family.help)}"
    for labels, value in rows:
        yield from _lines(family, labels, value)


def _lines(family: Family, labels: tuple[str, ...], value: Value) -> Iterator[str]:
    pairs = [f'{name}="{escaped(label)}"' for name, label in zip(family.labels, labels, strict=True)]
    braces = f"{{{','.join(pairs)}}}" if pairs else ""
    if not isinstance(value, tuple):
        yield f"{family.series}{braces} {value}"
        return
    *counts, total = value
    if family.kind is Kind.SUMMARY:
        count = counts[0]
    else:
        count = 0
        for bound, more in zip(_BOUNDS, counts, strict=True):
            count += more
            within = ",".join([*pairs, f'le="{bound}"'])
            yield f"{family.name}_bucket{{{within}}} {count}"
    yield f"{family.name}_count{braces} {count}"
    yield f"{family.name}_sum{braces} {total}"


def escaped(text: str) -> str:
    """Return a text as it stands in a label or a help: it ends neither its quotes nor its line.

    What UTF-8 cannot carry becomes a question mark.
    """
    text = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text.encode("utf-8", "replace").decode("utf-8")
