"""What no process of a program can be given where a layer of the sandbox is waived."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import ConfigError
from tlsrt.sandbox.profile import program_profile

WORKER = ProgramConfig("whisper", Path("/usr/bin/python3"), "a test", worker="speech.model", where="tlsrt.yaml:7:9")


def check(program: ProgramConfig, *waived: str) -> None:
    config = cast("Any", SimpleNamespace(sandbox=SimpleNamespace(waive=dict.fromkeys(waived, "a container"))))
    program_profile._check_worker(config, cast("Any", SimpleNamespace(program=program, label="third.speech/whisper")))


def test_no_worker_without_a_root_of_its_own_as_it_could_list_no_folder_of_packages() -> None:
    words = "tlsrt.yaml:7:9: third.speech/whisper cannot be a worker: sandbox layer mount_namespace is waived"
    with pytest.raises(ConfigError, match=words):
        check(WORKER, "mount_namespace")
    check(WORKER)
    check(WORKER, "mount_namespace", "landlock")
    check(ProgramConfig("cat", Path("/bin/cat"), "a test"), "mount_namespace")


def files_of(**said: object) -> None:
    program = ProgramConfig("cat", Path("/bin/cat"), "a test", where="tlsrt.yaml:7:9", **cast("Any", said))
    placed = SimpleNamespace(program=program, label="third.x/cat", files=SimpleNamespace(shown=()))
    config = SimpleNamespace(sandbox=SimpleNamespace(waive={}))
    program_profile._check_files(cast("Any", config), cast("Any", placed), ())


def test_no_program_reads_the_folder_that_is_its_own_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    place = tmp_path / "t"
    place.mkdir()
    monkeypatch.setattr(program_profile, "_SCRATCH", place)
    files_of(read=(place / "notes",), scratch_mb=4)
    files_of(read=(place,))
    with pytest.raises(ConfigError, match=r"tlsrt.yaml:7:9: third.x/cat cannot read .*/t: its own folder is there"):
        files_of(read=(place,), scratch_mb=4)
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="which is a link, and have a folder there"):
        files_of(read=(place / "notes",), scratch_mb=4)
    files_of(read=(place / "notes",))
