"""Loop table: which incarnation of each loop lives, and whether it has keys. Pure.

What is known about a loop comes from the supervisor (spawned, attested, gone) and, for `wants_keys`, from the loop.
A loop gets keys when it wants them and the supervisor has attested the very incarnation at the other end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.errors import PeerError

GATE = "primary"


@dataclass(slots=True)
class LoopEntry:
    """One process of a loop. `incarnation` is 0 until the supervisor named it; `attested` is an epoch, or None."""

    loop: str
    components: tuple[str, ...]
    following: tuple[str, ...] | None = None  # the components of the next incarnation, if they are others
    is_removed: bool = False  # by a reload: there is no next incarnation
    incarnation: int = 0
    attested: int | None = None
    wants_keys: bool = False
    is_joined: bool = False
    is_shut: bool = False  # Primary of a locked host: it has the door's files and no keys
    is_resting: bool = False  # it wants no feed until it asks what it has missed
    provisioned: int = 0  # when, ms

    @property
    def may_get_keys(self) -> bool:
        return self.wants_keys and self.incarnation > 0 and self.attested is not None

    @property
    def is_door(self) -> bool:
        """Tell whether it is the door's own process, which gets no key but that of the door."""
        return self.loop == DOOR_PROCESS

    @property
    def has_door(self) -> bool:
        """Tell whether it may serve the door, locked or not."""
        return self.is_joined or self.is_shut

    def reset(self, incarnation: int) -> None:
        """Begin another incarnation; 0 means that there is none."""
        self.incarnation = incarnation
        self.attested = None
        self.wants_keys = False
        self.is_joined = False
        self.is_shut = False
        self.is_resting = False


class LoopTable:
    """All loops by name."""

    def __init__(self, loops: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        self._entries = {loop: LoopEntry(loop, components) for loop, components in loops}
        self._loop_of: dict[str, LoopEntry] = {}
        self._index()
        self.barred: set[str] = set()  # revoked subjects: no loop gets keys to them, and they get none

    def __getitem__(self, loop: str) -> LoopEntry:
        """Return a loop; raise PeerError for a name that the configuration does not have."""
        entry = self._entries.get(loop)
        if entry is None:
            raise PeerError("unknown_loop")
        return entry

    def __iter__(self) -> Iterator[LoopEntry]:
        return iter(tuple(self._entries.values()))

    def find(self, loop: str) -> LoopEntry | None:
        """Return a loop, None if there is none of that name."""
        return self._entries.get(loop)

    @property
    def with_door(self) -> LoopEntry:
        """Return the process that the door runs in: Primary, or one of its own."""
        return self._entries.get(DOOR_PROCESS) or self[GATE]

    @property
    def names(self) -> Collection[str]:
        """Return the names of all loops, also of those that a reload adds later."""
        return self._entries.keys()

    @property
    def components(self) -> tuple[str, ...]:
        """Return the addresses of all components."""
        return tuple(self._loop_of)

    @property
    def expected(self) -> frozenset[str]:
        """Return the addresses of all components, also of those that a process has from its next start on."""
        return frozenset(self._loop_of).union(*(entry.following or () for entry in self))

    # Changes of a reload

    def change(self, processes: Mapping[str, tuple[str, ...]]) -> None:
        """Take other processes and components. A process that lives keeps what it has until it has ended."""
        for name, components in processes.items():
            entry = self._entries.setdefault(name, LoopEntry(name, ()))
            entry.following, entry.is_removed = components, False
        for entry in self:
            if entry.loop not in processes:
                entry.following, entry.is_removed = (), True
            if not entry.incarnation or entry.following == entry.components:
                self._follow(entry)
        self._index()

    def begin(self, entry: LoopEntry, incarnation: int) -> None:
        """Note that a process was spawned."""
        entry.reset(incarnation)
        self._follow(entry)
        self._index()

    def end(self, entry: LoopEntry, *, is_gone: bool) -> None:
        """Note that a process has ended, or only has no channel any more: then it is known as long as it lives."""
        if is_gone:
            self.begin(entry, 0)
        else:
            entry.reset(0)

    def _follow(self, entry: LoopEntry) -> None:
        if entry.is_removed and not entry.incarnation:
            self._entries.pop(entry.loop, None)
        elif entry.following is not None and not entry.is_removed:
            entry.components, entry.following = entry.following, None

    def _index(self) -> None:
        self._loop_of = {component: entry for entry in self for component in entry.components}

    def of(self, component: str) -> LoopEntry:
        """Return the loop of a component."""
        return self._loop_of[component]

    def has(self, subject: str) -> bool:
        """Tell whether a subject is a component of a loop."""
        return subject in self._loop_of

    @property
    def joined(self) -> tuple[LoopEntry, ...]:
        return tuple(entry for entry in self if entry.is_joined)

    @property
    def gate(self) -> int:
        """Return the incarnation of the gate that has keys, or 0."""
        primary = self._entries.get(GATE)
        return primary.incarnation if primary is not None and primary.is_joined else 0

    def mailbox(self, component: str) -> int:
        """Return the incarnation of a component that has its mailbox root and may be called, or 0."""
        entry = self._loop_of.get(component)
        if entry is None:  # of a reload that is checked, or was removed by one
            return 0
        return entry.incarnation if entry.is_joined and component not in self.barred else 0
