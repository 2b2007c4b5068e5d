"""Texts of /proc as values: pressure, load and /proc/stat. Pure; what does not read is left out."""

from __future__ import annotations

from tlsrt.loops.sampling.procfs import to_int

_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")  # proc_stat(5)


def parse_pressure(text: str | None) -> dict[str, dict[str, float]] | None:
    """Return shares in percent and the total in microseconds by `some` and `full`; None for nothing. psi.rst."""
    found: dict[str, dict[str, float]] = {}
    for line in (text or "").splitlines():
        scope, *pairs = line.split() or [""]
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        total = to_int(values.pop("total", None))
        shares = {f"{name}_percent": share for name, value in values.items() if (share := _share(value)) is not None}
        if total is not None and shares:
            found[scope] = {**shares, "total_us": total}
    return found or None


def _share(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def parse_load(text: str | None) -> dict[str, float | int] | None:
    """Return the averages and the numbers of tasks of /proc/loadavg, None if it is none."""
    words = (text or "").split()
    running, _, tasks = (words[3] if len(words) > 3 else "").partition("/")
    averages = [_share(word) for word in words[:3]]
    counts = to_int(running), to_int(tasks)
    if None in averages or None in counts or len(averages) < 3:
        return None
    numbers = (*averages, *counts)
    names = ("load_1m", "load_5m", "load_15m", "runnable_tasks", "tasks")
    return {name: number for name, number in zip(names, numbers, strict=True) if number is not None}


def parse_stat(text: str | None) -> tuple[list[int], dict[str, int]]:
    """Return the ticks of all processors together, and the first number of every other line by its name."""
    ticks: list[int] = []
    found: dict[str, int] = {}
    for line in (text or "").splitlines():
        words = line.split()
        numbers = [number for word in words[1:9] if (number := to_int(word)) is not None]
        if words[:1] == ["cpu"]:
            ticks = numbers
        elif words and numbers:
            found[words[0]] = numbers[0]
    return ticks, found


def processor_seconds(ticks: list[int], hertz: int) -> dict[str, float] | None:
    """Return processor time in seconds by kind, None where the kernel tells none."""
    return {kind: value / hertz for kind, value in zip(_KINDS, ticks, strict=False)} or None
