"""Which component, and which module of it, starts a thread before the seal.

The last Landlock rules are of one task, so a thread that an import has started would keep the rules from before. The
process ends then, and who has to mend it wants to know more than that: so each module is looked at when it has been
run, innermost first, by the same question to the kernel that decides it in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from types import ModuleType
from typing import Any

_LOADERS: tuple[type[Any], ...] = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)


class ThreadWatch:
    """Notes the first module, and the first component, after which this process is more than one task."""

    def __init__(self, is_single_task: Callable[[], bool]) -> None:
        self._is_single_task = is_single_task
        self._what = "the import of a component"
        self._is_found = False
        self._module = ""
        self.index = 0  # of the component

    @contextmanager
    def component(self, index: int, address: str) -> Iterator[None]:
        """Look on while a component is imported, made and warmed up."""
        if self._is_found or not self._is_single_task():
            yield
            return
        with self._modules():
            yield
        if not self._is_single_task():
            self.index, self._is_found = index, True
            self._what = f"component {address}: " + (
                f"the import of {self._module}" if self._module else "its own code"
            )
        self._module = ""

    def sentence(self) -> str:
        """Return what has been found, as a sentence."""
        return (
            f"{self._what} started a thread, which the seal would not hold: start it later, in `start`, and ask for it "
            "with `threads: N` under needs"
        )

    @contextmanager
    def _modules(self) -> Iterator[None]:
        own = [(loader, vars(loader).get("exec_module")) for loader in _LOADERS]
        for loader in _LOADERS:
            loader.exec_module = self._watched(loader.exec_module)
        try:
            yield
        finally:
            for loader, run in own:
                if run is None:
                    del loader.exec_module  # inherited
                else:
                    loader.exec_module = run

    def _watched(self, run: Callable[[Any, ModuleType], None]) -> Callable[[Any, ModuleType], None]:
        def exec_module(loader: Any, module: ModuleType) -> None:
            run(loader, module)
            if not self._module and not self._is_single_task():
                self._module = module.__name__

        return exec_module
