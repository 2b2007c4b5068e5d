"""What differs between two measurements, in words: versions first, then files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tlsrt.config.distributions import is_older

NAMED_MAX = 10
BYTECODE = "bytecode"
_VERSION = "version/"

Entries = Mapping[str, bytes]


def summary(sealed: Entries, found: Entries) -> list[str]:
    """Return what differs: a phrase for each distribution of another version, then at most 10 files by name."""
    phrases, left = _versions(sealed, found, _names(sealed, found))
    words = [f"{kind} {name}" for kind, name in left]
    more = f" and {len(words) - NAMED_MAX} more" if len(words) > NAMED_MAX else ""
    if more:
        words[NAMED_MAX - 1] += more
    return [*phrases, *words[:NAMED_MAX]]


def listed(sealed: Entries, found: Entries) -> list[str]:
    """Return a line for everything that differs: versions first, then all files."""
    names = _names(sealed, found)
    phrases, _ = _versions(sealed, found, names)
    return [*phrases, *(f"{kind} {name}" for kind, name in names)]


def _names(sealed: Entries, found: Entries) -> list[tuple[str, str]]:
    """Return what differs but versions. Missing byte code makes a start slower, and no different."""
    changed = [("changed", name) for name in sorted(sealed.keys() & found.keys()) if sealed[name] != found[name]]
    new = [("new", name) for name in sorted(found.keys() - sealed.keys()) if not name.startswith(_VERSION)]
    missing = [("missing", name) for name in sorted(sealed.keys() - found.keys()) if not name.startswith(_VERSION)]
    return [*changed, *new, *((kind, name) for kind, name in missing if name != BYTECODE)]


def _versions(sealed: Entries, found: Entries, names: list[tuple[str, str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return a phrase for each distribution whose version differs, and what is left without its files."""
    before, after = dict(prefixes(sealed)), dict(prefixes(found))
    counts: dict[tuple[str, str, str], int] = {}
    moved: dict[str, tuple[str, str, str]] = {}
    for prefix in sorted(before.keys() | after.keys()):
        old, new = before.get(prefix), after.get(prefix)
        if old != new:
            name = (new or old or ("", ""))[0]
            moved[prefix] = (name, old[1] if old is not None else "", new[1] if new is not None else "")
            counts.setdefault(moved[prefix], 0)
    left: list[tuple[str, str]] = []
    for kind, name in names:
        of = prefix_of(name, moved)
        if of is None:
            left.append((kind, name))
        else:
            counts[moved[of]] += 1
    return [_phrase(*key, count) for key, count in counts.items()], left


def prefixes(entries: Entries) -> Iterator[tuple[str, tuple[str, str]]]:
    for name in entries:
        if name.startswith(_VERSION):
            distribution, version, prefix = name.removeprefix(_VERSION).split("/", 2)
            yield prefix, (distribution, version)


def prefix_of(name: str, moved: Mapping[str, object]) -> str | None:
    """Return the longest of these prefixes that is a name or a folder above it; `python@2` belongs to `python`."""
    parts = name.split("/")
    for end in range(len(parts), 0, -1):
        prefix = "/".join([*parts[: end - 1], parts[end - 1].partition("@")[0]])
        for one in ("/".join(parts[:end]), prefix):
            if one in moved:
                return one
    return None


def _phrase(name: str, old: str, new: str, count: int) -> str:
    files = f"{count} file{'' if count == 1 else 's'}"
    if not old:
        return f"new {name} {new}: {files}"
    if not new:
        return f"missing {name} {old}: {files}"
    older = ", which is older" if is_older(new, old) else ""
    return f"{name} {old} -> {new}{older}: {files}"
