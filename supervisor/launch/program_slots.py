"""The programs of one configuration: by process, in the order of their integers, and by the names of their slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlsrt.config.packages import Code
from tlsrt.config.schema import Config
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.supervisor.launch.program_launcher import Execution, execution_of


class ProgramsOfProcesses:
    """Fixed for one configuration; a process knows its programs by their place in `of`."""

    def __init__(self, config: Config, code: Code) -> None:
        self._by_process: dict[str, list[PlacedProgram]] = {}
        self._proxies: dict[str, list[PlacedProgram]] = {}
        slots: dict[str, PlacedProgram] = {}
        self._executions: dict[str, Execution] = {}
        for component in config.components:
            for program in component.all_programs:
                placed = PlacedProgram(component, program, code.programs[component.address, program.name])
                by_process = self._by_process if program.bus is None else self._proxies
                by_process.setdefault(component.process, []).append(placed)
                for slot in placed.slots:
                    slots[slot] = placed
                    self._executions[slot] = execution_of(program, placed.files)
        self.slots: Mapping[str, PlacedProgram] = slots

    def of(self, process: str) -> Sequence[PlacedProgram]:
        """Return the programs that a process may ask for."""
        return self._by_process.get(process, [])

    def proxies_of(self, process: str) -> Sequence[PlacedProgram]:
        """Return those that run for the grants of a process."""
        return self._proxies.get(process, [])

    def execution(self, slot: str) -> Execution:
        """Return what is executed in a slot."""
        return self._executions[slot]
