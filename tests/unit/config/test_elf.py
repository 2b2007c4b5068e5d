"""Executables: the files of real ones, and any damage of one is a sentence."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlsrt.config.elf import CACHE, Elf, ExecutableReader, parse_cache, parse_elf_untrusted
from tlsrt.errors import ConfigError

READER = ExecutableReader()
SH = os.path.realpath("/bin/sh")
DATA = Path(SH).read_bytes()


def parse(data: bytes) -> Elf | None:
    return parse_elf_untrusted(lambda offset, count: data[offset : offset + count])


def test_a_program_is_read_with_its_loader_and_all_libraries() -> None:
    found = READER.read("/bin/sh")
    assert (found.path, found.prefix, found.files[0]) == ("/bin/sh", (), "/bin/sh")
    elf = parse(DATA)
    assert elf is not None
    assert elf.loader is not None
    assert found.runs == ("/bin/sh", elf.loader)
    assert any("libc" in path for path in found.files)
    assert all(os.path.exists(path) for path in found.files)


def test_libraries_of_libraries_are_found_too() -> None:
    program = shutil.which("findmnt")  # of util-linux; it asks for libmount, that for libselinux, and that for libpcre2
    assert program is not None
    maps = {os.path.basename(path) for path in READER.read(program).files}
    assert {"libc.so.6", "libmount.so.1", "libpcre2-8.so.0"} <= maps


def test_a_script_is_run_by_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "hello"
    script.write_text("#!/bin/sh -e\necho hello\n")
    found = READER.read(str(script))
    assert (found.path, found.prefix) == ("/bin/sh", ("-e", str(script)))
    assert str(script) not in found.runs, "the kernel executes the interpreter only"
    assert {str(script), "/bin/sh"} <= {*found.files}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("#!/usr/bin/env python3\n", "asks env for its interpreter"),
        ("hello", "neither an ELF file nor a script"),
        ("", "neither an ELF file nor a script"),
        ("#!/nowhere/at/all\n", "cannot read /nowhere/at/all: No such file"),
        ("\x7fELF", "64-bit"),
    ],
)
def test_what_cannot_be_executed_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        READER.read(str(file))


def test_a_script_of_a_script_and_another_machine_are_said(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("#!/bin/sh\n")
    (tmp_path / "two").write_text(f"#!{tmp_path / 'one'}\n")
    with pytest.raises(ConfigError, match="is a script itself"):
        READER.read(str(tmp_path / "two"))
    foreign = tmp_path / "foreign"
    foreign.write_bytes(DATA[:18] + b"\x08\0" + DATA[20:])
    with pytest.raises(ConfigError, match="of another machine"):
        READER.read(str(foreign))


def test_origin_is_the_folder_of_the_file() -> None:
    found = READER.read(os.path.realpath(sys.executable))
    assert all(os.path.exists(path) and "$" not in path for path in found.files)


def test_the_cache_of_the_loader_names_the_c_library() -> None:
    kind = {"x86_64": 0x0300, "aarch64": 0x0A00}[os.uname().machine]
    assert "libc.so.6" in parse_cache(CACHE.read_bytes(), kind)
    assert "libc.so.6" in parse_cache(b"ld.so-1.7.0" + bytes(21) + CACHE.read_bytes(), kind)
    with pytest.raises(ValueError, match="no cache"):
        parse_cache(b"something else", kind)
    with pytest.raises(ValueError):  # noqa: PT011  # whatever is missing
        parse_cache(CACHE.read_bytes()[:100], kind)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=16), st.integers(0, len(DATA)))
def test_a_damaged_file_is_read_or_refused(at: int, change: bytes, length: int) -> None:
    for data in (DATA[:at] + change + DATA[at + len(change) :], DATA[:length]):
        try:
            parse(data)
        except (ValueError, OverflowError) as error:
            assert str(error)  # noqa: PT017
