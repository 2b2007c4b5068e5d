"""The judge of a walk: a ledger in, findings out, each a sentence. Pure.

A caller may be told that a call failed, at any time; it may not be told nothing, too late, twice, or a lie.

- Every call of a caller that lives has an outcome by its deadline: an answer or a typed error. A process that did not
  run (it was stopped, or the machine was busy) could not hear of it: the time that it did not run is not counted.
- A call runs at most once, also one with an idempotency key, which is repeated, and over lives of its recipient.
- An answer means that it ran, and each of the outcomes in NEVER_RAN that it did not.
- Nothing runs that nobody asked for, nor after the deadline of who asked.
- What the store acknowledged is there: a value read is the last one acknowledged before, or one written later.
- No process may seal with a nonce twice; nothing may be left over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.ledger import Call, Ledger, Life

SLACK_MS = 250  # of a timer, and of writing down the outcome
RUN_SLACK_MS = 250  # between a recipient's look at the deadline and the first line of its handler
TYPED = frozenset({
    "failed", "invalid_argument", "not_found", "conflict", "denied", "busy", "unavailable", "away", "outcome_unknown",
    "deadline", "cancelled", "stream_broken", "rejected", "stale", "locked",
})  # fmt: skip
NEVER_RAN = frozenset({"busy", "denied", "not_found", "unavailable", "away", "invalid_argument", "conflict", "locked"})
NEVER_EXPECTED = frozenset({"invalid_argument", "denied", "not_found", "conflict"})  # of a call as ours are
EXECUTED = frozenset({"plain", "keyed", "stream"})  # kinds that a journal writes down


def check(ledger: Ledger) -> list[str]:
    """Return what is wrong, an empty list if all is well."""
    return [
        *ledger.findings,
        *(f"a line of the ledger is torn: {place}" for place in ledger.torn),
        *(finding for life in ledger.lives for finding in _check_life(life)),
        *_check_runs(ledger),
        *_check_store(ledger),
    ]


def _said(call: Call) -> str:
    return f"{call.kind} call {call.id} to {call.target}"


def _check_life(life: Life) -> Iterator[str]:
    for name in life.twice:
        yield f"call {name} ended twice"
    for call in life.calls.values():
        if not call.outcome:
            if life.in_order or life.last > _latest(life, call.deadline):
                yield f"{_said(call)} was never answered"
        elif call.outcome == "wrong":
            yield f"{_said(call)} got a wrong answer: {call.detail}"
        elif call.outcome not in TYPED | {"ok", "dropped"}:
            yield f"{_said(call)} ended with an error without a type: {call.outcome} {call.detail}"
        elif call.outcome in NEVER_EXPECTED and not (call.kind == "get" and call.outcome == "not_found"):
            yield f"{_said(call)} ended as {call.outcome}, for which there was no reason: {call.detail}"
        elif call.ended > _latest(life, call.deadline):
            yield f"{_said(call)} ended {call.ended - call.deadline} ms after its deadline, as {call.outcome}"


def _latest(life: Life, deadline: int) -> int:
    """When an outcome must be there: a process that did not run at the deadline gets the rest of its pause."""
    latest = deadline + SLACK_MS
    for begin, end in life.stalls:
        if begin <= latest and end >= deadline:
            latest = max(latest, end + SLACK_MS)
    return latest


def _check_runs(ledger: Ledger) -> Iterator[str]:
    asked = {call.id: call for call in ledger.calls}
    for name, runs in ledger.runs.items():
        call = asked.get(name)
        if call is None:
            yield f"call {name} ran, but nobody made it"
            continue
        if len(runs) > 1:
            lives = {(run.journal, run.life) for run in runs}
            yield f"{_said(call)} ran {len(runs)} times, in {len(lives)} lives of its recipient"
        if call.outcome in NEVER_RAN:
            yield f"{_said(call)} ended as {call.outcome}, but it ran: {call.detail}"
        late = max(run.at for run in runs) - call.deadline
        if late > RUN_SLACK_MS and not _stalled(ledger, runs[-1].journal, call.deadline, runs[-1].at):
            yield f"{_said(call)} ran {late} ms after its deadline"
    for call in ledger.calls:
        if call.kind in EXECUTED and call.outcome == "ok" and call.id not in ledger.runs:
            yield f"{_said(call)} was answered, but it never ran"


def _stalled(ledger: Ledger, journal: str, begin: int, end: int) -> bool:
    """Tell whether the recipient's process could not run meanwhile; only a caller in the same loop would know."""
    loop = journal.split("-")[1] if "-" in journal else ""
    return any(
        life.writer == f"caller-{loop}" and any(b <= end and e >= begin for b, e in life.stalls)
        for life in ledger.lives
    )


def _check_store(ledger: Ledger) -> Iterator[str]:
    """Each key has one writer, which writes rising numbers; reads and writes of a life stand in their order."""
    final: dict[str, list[Call]] = {}
    for call in ledger.calls:
        if call.kind == "put":
            final.setdefault(call.key, []).append(call)
    for key, written in final.items() if ledger.final else ():
        version = ledger.final.get(key)
        last = Call("final", "get", "the store", 0, 0, key, 0, "not_found" if version is None else "ok", 0, version)
        yield from _check_read(last, written, {})
    for life in ledger.lives:
        puts: dict[str, list[Call]] = {}
        seen: dict[str, int] = {}
        for call in life.calls.values():
            if call.kind == "put":
                puts.setdefault(call.key, []).append(call)
            elif call.kind == "get":
                yield from _check_read(call, puts.get(call.key, []), seen)


def _check_read(call: Call, puts: list[Call], seen: dict[str, int]) -> Iterator[str]:
    least = max((put.version for put in puts if put.outcome == "ok"), default=0)
    if call.outcome == "not_found" and least:
        yield f"{_said(call)}: version {least} of {call.key} was acknowledged, and is lost"
    if call.outcome != "ok":
        return
    version = call.detail
    written = {put.version for put in puts if put.outcome not in NEVER_RAN | {"failed"}}
    if version not in written:
        yield f"{_said(call)}: {call.key} has version {version}, which was never written or not acknowledged"
    elif version < max(least, seen.get(call.key, 0)):
        yield f"{_said(call)}: {call.key} is back at version {version}, after {max(least, seen.get(call.key, 0))}"
    if isinstance(version, int):
        seen[call.key] = max(seen.get(call.key, 0), version)


def figures(ledger: Ledger) -> dict[str, Counter[str]]:
    """Return how many calls of each kind ended how."""
    counted: dict[str, Counter[str]] = {}
    for call in ledger.calls:
        counted.setdefault(call.kind, Counter())[call.outcome or "unheard"] += 1
    return counted
