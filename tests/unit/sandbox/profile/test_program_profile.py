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
