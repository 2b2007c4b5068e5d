"""What a sealed interpreter still knows of code, in processes of their own: there is no way back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PRELUDE = """
import sys, gc, threading, traceback
from tlsrt.sandbox.apply.imports import end_imports, preload, remember_sources
preload()
sys.path.insert(0, {folder!r})
import notes
remember_sources({{"notes"}})
end_imports()
"""


def said(folder: Path, code: str, *, source: str = "def fail():\n    return 1 / 0  # of notes\n") -> str:
    """Run code after the end of imports, its module's file already gone; return all that it said."""
    (folder / "notes.py").write_text(source)
    program = PRELUDE.format(folder=str(folder)) + f"import os; os.unlink({str(folder / 'notes.py')!r})\n" + code
    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def test_a_late_import_is_one_sentence_and_looks_for_no_file(tmp_path: Path) -> None:
    text = said(tmp_path, "try:\n import colorsys\nexcept ModuleNotFoundError as error:\n print(error.name, error)")
    assert text == (
        "colorsys cannot import colorsys now: a sealed process reads no code; import it at the top of a module; "
        "if a library does so, write `imports: [colorsys]` beside the class of the component, "
        "or `imports: [colorsys.*]` for all of its package\n"
        "late import: colorsys; if something fails by it, write `imports: [colorsys]`\n"  # of standard error
    )


def test_what_the_library_imports_late_is_there(tmp_path: Path) -> None:
    code = """
import datetime, concurrent.futures, asyncio
print(datetime.datetime.strptime("2026", "%Y").year, "bücher".encode("idna"), b"\\x80".decode("cp1252"))
with concurrent.futures.ThreadPoolExecutor(1) as pool: print(pool.submit(lambda: 7).result())
"""
    text = said(tmp_path, code, source="import asyncio, datetime, concurrent.futures\n")
    assert text == "2026 b'xn--bcher-kva' €\n7\n"


def test_every_way_to_print_an_error_shows_remembered_lines(tmp_path: Path) -> None:
    code = """
thread = threading.Thread(target=notes.fail)
thread.start(); thread.join()
class Broken:
    def __del__(self): notes.fail()
Broken(); gc.collect()
notes.fail()
"""
    text = said(tmp_path, code)
    assert text.count("return 1 / 0  # of notes") == 3 and text.count("ZeroDivisionError: division by zero") == 3
    assert "Exception ignored in" in text


def test_an_extension_module_and_a_module_without_file_have_no_lines(tmp_path: Path) -> None:
    code = "import linecache, _cffi_backend; print(linecache.getlines(_cffi_backend.__file__), linecache.getlines('x'))"
    text = said(tmp_path, code, source="import _cffi_backend, linecache\n")
    assert text == "[] []\n"


def test_modules_of_an_earlier_look_are_not_touched_again(tmp_path: Path) -> None:
    """In a forked child, each look at one would copy a page."""
    code = """
import types
from tlsrt.sandbox.apply import imports
class Watched(types.ModuleType):
    def __getattribute__(self, name):
        print("looked at", types.ModuleType.__getattribute__(self, "__name__"))
        return types.ModuleType.__getattribute__(self, name)
sys.modules["notes.older"] = Watched("notes.older")
remember_sources({"notes"})
print("then")
sys.modules["notes.newer"] = Watched("notes.newer")
remember_sources({"notes"})
remember_sources({"notes"})
"""
    assert said(tmp_path, code) == "looked at notes.older\nthen\nlooked at notes.newer\n"


def test_a_late_import_whose_error_is_dropped_is_told_once(tmp_path: Path) -> None:
    code = """
for _ in range(2):
    try:
        from logging import handlers
    except ImportError as error:
        print("cannot import now" in str(error))
"""
    told = "late import: logging.handlers; if something fails by it, write `imports: [logging.handlers]`"
    assert said(tmp_path, code).splitlines() == ["False", "False", told]
