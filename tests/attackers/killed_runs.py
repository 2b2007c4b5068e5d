"""A function that SIGKILL ends before any of its steps.

    for step in itertools.count():
        if not killed_at(step, change, "rename", "unlink"):
            break

A kill closes descriptors and leaves the files as they are at that moment. Where only these are looked at, one run gives
what each of those kills would leave: `left_at_each` copies them before each step.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def killed_at(step: int, run: Callable[[], object], *names: str, refusal: type[Exception] = AssertionError) -> bool:
    """Run in a child that is killed before its n-th call of these functions of `os`; tell whether it was.

    A run that comes to its end returns, or is refused by that error; any other one fails the test.
    """

    def before(number: int) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)

    status = _run_in_child(run, names, refusal, before)
    assert os.WIFSIGNALED(status) or status == 0, "what was to be killed failed before"
    return os.WIFSIGNALED(status)


def left_at_each(
    folder: Path, run: Callable[[], object], *names: str, refusal: type[Exception] = AssertionError
) -> Iterator[int]:
    """Give the number of each step, with the folder as a kill before it leaves it; at last, as the whole run does.

    The folder is used and changed meanwhile, and is at its end as the last turn has left it.
    """
    copies = folder.with_name(f"{folder.name}.steps")
    status = _run_in_child(run, names, refusal, lambda number: _copy(folder, copies / f"{number}"))
    assert status == 0, "the whole run failed"
    steps = len(os.listdir(copies))
    _copy(folder, copies / f"{steps}")
    for number in range(steps + 1):
        shutil.rmtree(folder)
        _copy(copies / f"{number}", folder)
        yield number


def _copy(folder: Path, copy: Path) -> None:
    shutil.copytree(folder, copy, symlinks=True)


def _run_in_child(
    run: Callable[[], object], names: tuple[str, ...], refusal: type[Exception], before: Callable[[int], None]
) -> int:
    """Return how the child has ended. `before` is called there before each call, and calls what it likes itself."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    calls = 0
    is_between = False

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            nonlocal calls, is_between
            if not is_between:
                is_between = True
                before(calls)
                is_between = False
                calls += 1
            return real(*words, **more)

        return call

    for name in names:
        setattr(os, name, counted(getattr(os, name)))
    code = 1
    try:
        run()
        code = 0
    except refusal:
        code = 0
    finally:
        os._exit(code)
