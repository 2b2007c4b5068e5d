"""What the components of a process say of themselves besides their health: ready or not, and their tasks in number."""

from __future__ import annotations

from collections.abc import Iterable

from tlsrt.loops.runtime.component_host import ComponentHost

PER_BEAT = 8  # reports; the supervisor takes 50 records a second of a loop


class ComponentStates:
    """Compares the components with what was told of them last. In words it is in the log of the process."""

    def __init__(self, hosts: Iterable[ComponentHost]) -> None:
        self._hosts = list(hosts)
        self._told: dict[int, tuple[int, int, int]] = {}

    def changes(self) -> list[tuple[int, int, int, int]]:
        """Return index, readiness, tasks and restarts of some that have changed; until they are told."""
        found: list[tuple[int, int, int, int]] = []
        for index, host in enumerate(self._hosts):
            state = (int(host.readiness), len(host.tasks), host.tasks.restarts)
            if state != self._told.get(index, (0, 0, 0)) and len(found) < PER_BEAT:
                found.append((index, *state))
        return found

    def told(self, index: int, readiness: int, tasks: int, restarts: int) -> None:
        """Take note of a report that was sent."""
        self._told[index] = (readiness, tasks, restarts)
