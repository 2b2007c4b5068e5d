"""Violations of processes: counted, reported now and then, and charged to the anomaly score."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsrt.config.supervision import PRIMARY
from tlsrt.supervisor.process.syscall_monitor import Violation
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context

REFUSED, KILLED, DIFFERENCE, LIMIT = "seccomp_refused", "seccomp_kill", "attestation", "limit"  # detectors
_SAID_FIRST = 3  # of one process; then only the 10th, 100th, ...
_WANTED_MOST = 8  # hosts of one process that status shows
_GATHER_S = 0.1  # a process that tries without end must not fill the authority's channel


def wanted_sentence(who: str, target: str) -> str:
    """Return what an operator is told of a host that no egress rule lists. Pure."""
    rule = f'"{target}"' if "[" in target else target
    shown = target if target.endswith("/udp") else f"{target}/tcp"
    return f"{who} wants {shown}, and no egress rule lists it: add {rule} to the egress of its needs, if it should"


@dataclass(slots=True)
class ViolationRecord:
    """What is known of one process, over all its incarnations."""

    count: int = 0
    last: str | None = None
    wanted: list[str] = field(default_factory=list[str])  # hosts that no egress rule lists, the newest last
    # What was not charged yet: which incarnation and which offence; how often, and what the last one was.
    gathered: dict[tuple[int, str], tuple[int, str]] = field(default_factory=dict[tuple[int, str], tuple[int, str]])
    is_gathering: bool = False


class Violations:
    """Keeps the records; whether a process is killed for one is not decided here."""

    def __init__(self, context: Context, authority: AuthorityProcess) -> None:
        self._context = context
        self._authority = authority
        self._records: dict[str, ViolationRecord] = {}

    def of(self, name: str) -> ViolationRecord:
        """Return the record of a process."""
        return self._records.setdefault(name, ViolationRecord())

    def note(self, name: str, incarnation: int, pid: int, violation: Violation) -> None:
        """Note a call that a process (`pid` as the host sees it) was not allowed to make."""
        record = self.of(name)
        if violation.wanted:
            self._note_wanted(name, incarnation, pid, record, violation.wanted)
            return
        record.count += 1
        record.last = violation.sentence
        if violation.ends or record.count <= _SAID_FIRST or record.count == 10 ** (len(str(record.count)) - 1):
            word = "killed" if violation.ends else "refused"
            self._context.console.bad(name, word, f"{violation.sentence} (pid {pid}, violation {record.count})")
        self._context.events.emit(
            "violation", name, violation.sentence, pid=pid, incarnation=incarnation, call=violation.call,
            ends=violation.ends, count=record.count,
        )  # fmt: skip
        self._charge(name, incarnation, KILLED if violation.ends else REFUSED, 1, violation.call)

    def _note_wanted(self, name: str, incarnation: int, pid: int, record: ViolationRecord, target: str) -> None:
        """Note a host that no egress rule lists: nothing is charged, since the rules may be what is wrong."""
        if target in record.wanted:
            record.wanted.remove(target)
        else:
            sentence = wanted_sentence(self._who(name), target)
            self._context.console.warning(name, sentence)
            self._context.events.emit(
                "egress_wanted", name, sentence, pid=pid, incarnation=incarnation, target=target
            )  # fmt: skip
        record.wanted[:] = [*record.wanted, target][-_WANTED_MOST:]

    def _who(self, process: str) -> str:
        """Return the address of the component that runs there alone, else the name of the process."""
        placed = self._context.current.config.components_of(process)
        return placed[0].address if len(placed) == 1 else process

    def differs(self, name: str, incarnation: int, difference: str) -> None:
        """Note a process that is not what its profile says."""
        record = self.of(name)
        record.count += 1
        record.last = f"attestation: {difference}"
        self._context.events.emit("difference", name, difference, incarnation=incarnation, count=record.count)
        self._charge(name, incarnation, DIFFERENCE, 1, "attestation")

    def limit_reached(self, name: str, incarnation: int, kind: str, sentence: str) -> None:
        """Note a process that has used up a limit. Primary, which clients can bring to its limits, is not charged."""
        self._context.console.bad(name, "limit", sentence)
        self._context.events.emit("limit_reached", name, sentence, incarnation=incarnation, limit=kind)
        if name not in (PRIMARY, AUTHORITY):
            self._charge(name, incarnation, LIMIT, 1, kind)

    def _charge(self, name: str, incarnation: int, detector: str, count: int, what: str) -> None:
        """Charge at once what comes first, and together what comes within a tenth of a second after that.

        Each incarnation is charged with its own: what is put on one that is dead counts little.
        """
        record = self.of(name)
        before, _ = record.gathered.get((incarnation, detector), (0, what))
        record.gathered[incarnation, detector] = (before + count, what)
        if not record.is_gathering:
            self._tell(name)

    def _tell(self, name: str) -> None:
        """Tell the authority what was gathered. One that is away hears of it when it is back."""
        record = self.of(name)
        gathered, record.gathered = record.gathered, {}
        record.is_gathering = bool(gathered)
        for (incarnation, detector), (count, what) in gathered.items():
            if not self._authority.channel.charge(name, incarnation, detector, count, what):
                record.gathered[incarnation, detector] = (count, what)
        if gathered:
            self._context.event_loop.call_later(_GATHER_S, lambda: self._tell(name))
