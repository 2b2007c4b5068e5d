"""The looks at all processes of a host: which of them keep their files open between two rounds.

A look at a process that is there in the next round again costs less with files that are open already. A quarter of what
the supervisor may hold open is its own (the rest is for connections of components); looks take a half of that at most,
and the processes beyond it are looked at with files that are opened each time, which finds the same.
"""

from __future__ import annotations

import resource

from tlsrt.sandbox.apply.root_plan import PlannedRoot
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.verify.differences import NamespaceSet, unreadable_sentence
from tlsrt.sandbox.verify.process_look import ProcessLook
from tlsrt.sandbox.verify.run_count import has_ticks

SHARE = 8  # of the descriptors that this process may have


class ProcessLooks:
    """By the name of the process; a name that comes again with another pid is another process."""

    def __init__(self, most: int | None = None) -> None:
        """`most` bounds the descriptors that are kept; by default it is a share of RLIMIT_NOFILE."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = most if most is not None else soft // SHARE if soft != resource.RLIM_INFINITY else 1 << 16
        self._trusts_counts = has_ticks()
        self._looks: dict[str, ProcessLook] = {}
        self._most_tasks: dict[str, tuple[Profile, int | None]] = {}  # worked out once for a profile
        self._kept: dict[str, int] = {}  # descriptors, of those that keep any

    @property
    def kept(self) -> int:
        """Return how many descriptors are kept now."""
        return sum(self._kept.values())

    def differences(
        self, name: str, pid: int, profile: Profile, own: NamespaceSet, root: PlannedRoot | None
    ) -> list[str]:
        """Look at a process now, as `attest` does."""
        look = self._looks.get(name)
        is_first = look is None or look.pid != pid  # one that is looked at once alone keeps nothing
        if look is None or is_first:
            self.forget(name)
            look = self._looks[name] = ProcessLook(pid, trusts_counts=self._trusts_counts)
        try:
            found = look.differences(profile, own, max_tasks=self._max_tasks(name, profile), root=root)
        except OSError:  # no descriptor was left: what is kept can do without
            self.close()
            found = _last_try(look, profile, own, root)
        others = self.kept - self._kept.pop(name, 0)
        if is_first or others + look.files > self._most:
            look.close()
        else:
            self._kept[name] = look.files
        return found

    def _max_tasks(self, name: str, profile: Profile) -> int | None:
        known = self._most_tasks.get(name)
        if known is None or known[0] is not profile:
            known = self._most_tasks[name] = (profile, profile.max_tasks)
        return known[1]

    def of(self, name: str, pid: int) -> ProcessLook | None:
        """Return the look at a process that keeps its files open, None where there is none."""
        look = self._looks.get(name)
        return look if look is not None and look.pid == pid and name in self._kept else None

    def has_slept(self, name: str, pid: int) -> bool:
        """Tell whether no task of a process has run between its last look and the one before."""
        look = self.of(name, pid)
        return look is not None and look.has_slept

    def epoll_set(self, name: str, pid: int) -> int | None:
        """Return the descriptor of the epoll set in which it waits now; None where that is not seen."""
        look = self.of(name, pid)
        return look.epoll_set() if look is not None else None

    def forget(self, name: str) -> None:
        """Let go of a process that has ended; a name that is not known is fine."""
        self._kept.pop(name, None)
        self._most_tasks.pop(name, None)
        if (look := self._looks.pop(name, None)) is not None:
            look.close()

    def close(self) -> None:
        """Keep nothing open for now."""
        self._kept.clear()
        for look in self._looks.values():
            look.close()


def _last_try(look: ProcessLook, profile: Profile, own: NamespaceSet, root: PlannedRoot | None) -> list[str]:
    try:
        return look.differences(profile, own, max_tasks=profile.max_tasks, root=root)
    except OSError as error:
        return [unreadable_sentence(look.pid, error)]
