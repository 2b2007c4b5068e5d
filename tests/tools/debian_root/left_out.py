"""Tests that need no processes and do not run with Debian's lowest versions: `python -m tools.debian_root.left_out`.

What is printed are files: those that are left out there by name, and those of which a test may be skipped, as a clean
root has none of the programs that a test asks for. `.ci/run` runs these with the newest versions on 3.13.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PURE = ("tests/unit", "tests/property")
HELPERS = ("fakes", "hosts", "attackers", "probes")
# What is left out, and why.
WITHOUT = {
    "tests/unit/test_packaging.py": "builds by pip",
    "tests/unit/test_sbom.py": "cyclonedx-python-lib, and a wheel",
    "tests/unit/test_examples.py": "what the examples need",
    "tests/unit/test_coverage_pipe.py": "coverage",
    "tests/unit/test_documents.py": "of no version",
    "tests/unit/loops/http/test_openapi.py": "openapi-spec-validator",
    "tests/unit/loops/runtime/test_device_paths.py": "pyserial",
    "tests/unit/supervisor/supervision/test_state_watch.py": "counts descriptors while a folder on a disk is read",
}
SECCOMP = "tests/unit/sandbox/seccomp"
FACTS = "tests/unit/loops/components/test_facts_events.py"
UNTRUE = {
    f"{FACTS}::test_a_file_system_that_fills_up_is_told": "a disk that is not empty",
    "tests/unit/config/test_packages.py::test_the_list_of_dependencies_is_their_closure": "lists of files of pip",
    "tests/unit/supervisor/cli/component/test_wheel.py::test_a_module_in_the_working_folder_is_not_run_as_pip": "pip",
    "tests/unit/test_primitives.py::test_hpke": "vectors that python3-cryptography-vectors has not yet",
    f"{SECCOMP}/test_syscall_numbers.py::test_the_numbers_are_those_of_the_kernel_headers": "a C compiler",
}
_MAY_SKIP = re.compile(r"\bneed\w*\(|\bpytest\.(?:mark\.)?skip|\bimportorskip\b")


def left_out() -> list[str]:
    """Return the files that do not run there, or perhaps not with all of their tests."""
    asking = _asking_helpers()
    may_skip = {
        str(path.relative_to(ROOT))
        for folder in PURE for path in (ROOT / folder).rglob("test_*.py") if _may_skip(path.read_text(), asking)
    }  # fmt: skip
    return sorted(may_skip | {*WITHOUT} | {name.partition("::")[0] for name in UNTRUE})


def _asking_helpers() -> set[str]:
    """Return the modules that several tests use and that ask for a program, or use one that does."""
    texts = {f"{folder}.{path.stem}": path.read_text() for folder in HELPERS for path in _modules(folder)}
    asking: set[str] = set()
    while more := {name for name, text in texts.items() if name not in asking and _may_skip(text, asking)}:
        asking |= more
    return asking


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / "tests" / folder).glob("*.py"))


def _may_skip(text: str, asking: set[str]) -> bool:
    names = {".".join(pair) for pair in re.findall(rf"^from ({'|'.join(HELPERS)})\.(\w+) import", text, re.M)}
    return bool(_MAY_SKIP.search(text) or names & asking)


if __name__ == "__main__":
    print(*left_out())
