"""The verdict of a dry run, and the differences that it lists."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from fakes.children import FakeChildren

from tlsrt.config.elf import Executable
from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.config.measure import measure
from tlsrt.config.program_files import ProgramFiles
from tlsrt.config.programs import ProgramConfig
from tlsrt.config.schema import Config
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.supervisor.reload.decision import changed_code
from tlsrt.supervisor.reload.dry_run import LINES_MAX, _differences, _verdict
from tlsrt.supervisor.supervision.context import Reloadable


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("dry") / "host"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC))
    return load_config(folder / "tlsrt.yaml")


def verdict(present: Config, mode: Literal["strict", "warn"], /, **changed: bytes) -> dict[str, Any]:
    taken = replace(present, measure=mode)
    before = measure(present)
    renewal: Any = SimpleNamespace(config=taken, measure=lambda: {**before, **changed}, code=dict)
    return _verdict(Reloadable(taken, FakeChildren()), renewal, before)


OTHER = hashlib.sha256(b"other").digest()


def test_a_host_as_it_was_sealed(config: Config) -> None:
    assert verdict(config, "strict") == {"changed": [], "refused": [], "warnings": [], "door": []}


def test_under_strict_what_is_not_sealed_is_refused(config: Config) -> None:
    (sentence,) = verdict(config, "strict", config=OTHER)["refused"]
    assert sentence.startswith("not as it was sealed: changed config")
    found = verdict(config, "warn", config=OTHER)
    assert found["warnings"] == [sentence] and not found["refused"]


def test_code_of_tlsrt_is_taken_by_a_restart_of_the_host_only(config: Config) -> None:
    found = verdict(config, "strict", **{"tlsrt/errors.py": OTHER})
    assert any("taken by a restart only" in sentence for sentence in found["refused"])


@dataclass
class ChildrenWithProgram(FakeChildren):
    programs: Sequence[PlacedProgram] = ()

    def programs_of(self, process: str) -> Sequence[PlacedProgram]:
        return [one for one in self.programs if one.component.process == process]


@pytest.mark.parametrize("stays", [False, True])
def test_a_deleted_file_of_a_program_goes_with_its_own_component_only(config: Config, stays: bool) -> None:
    leaving, staying = config.components[:2]
    executable = Executable("/usr/bin/tool", (), ("/usr/bin/tool",), ("/usr/bin/tool",), "")
    files = ProgramFiles(executable, identities={"/opt/x/plugin.so": ()})
    has = PlacedProgram(staying if stays else leaving, ProgramConfig("tool"), files)
    after = measure(config)
    without = replace(config, components=tuple(one for one in config.components if one is not leaving))
    renewal: Any = SimpleNamespace(config=without, code=dict)
    current = Reloadable(config, ChildrenWithProgram(programs=[has]))
    found = changed_code(current, renewal, {**after, "program/opt/x/plugin.so": OTHER}, after)
    assert found.fixed.endswith("program/opt/x/plugin.so") if stays else not found.fixed


def test_the_door_is_compared_by_what_is_measured_of_it(config: Config) -> None:
    assert verdict(config, "warn", **{"client-ca": OTHER})["door"] == ["client-ca"]


def test_differences_are_named_and_bounded(config: Config) -> None:
    found = _differences({"a": 1, "b": 1, "c": 1}, {"b": 2, "c": 1, "d": 1})
    assert found == {"added": ["d"], "removed": ["a"], "changed": ["b"]}
    many = _differences({}, {str(number): 1 for number in range(LINES_MAX + 5)})
    assert len(many["added"]) == LINES_MAX + 1 and many["added"][-1] == "and 5 more"
