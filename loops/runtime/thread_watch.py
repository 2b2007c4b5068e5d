"""Which component, and which module of it, starts a thread before the seal.

The last Landlock rules are of one task, so a thread that an import has started would keep the rules from before. The
process ends then, and who has to mend it wants to know more than that: so each module is looked at when it has been
run, innermost first, by the same question to the kernel that decides it in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader, SourcelessFileLoader
from typing import Any

REFUSED = "can't start new thread"  # as CPython says it
_STEPS: tuple[tuple[type[Any], str], ...] = (
    (SourceFileLoader, "exec_module"), (SourcelessFileLoader, "exec_module"),
    (ExtensionFileLoader, "create_module"),  # loads the shared object, whose own constructors may start some
    (ExtensionFileLoader, "exec_module"),
)  # fmt: skip


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

    def is_refused(self, error: BaseException | None) -> bool:
        """Tell whether an error came of a thread that there was no room for: a host may allow no more than one task."""
        while error is not None:
            if isinstance(error, RuntimeError) and REFUSED in str(error):
                return True
            error = error.__cause__ or error.__context__
        return False

    def note_refused(self, index: int, address: str) -> None:
        """Note that a component, or a module of it, was refused a thread."""
        self.index, self._is_found = index, True
        self._what = f"component {address}: " + (f"the import of {self._module}" if self._module else "its own code")

    def sentence(self) -> str:
        """Return what has been found, as a sentence."""
        return (
            f"{self._what} started a thread, which the seal would not hold: start it later, in `start`, and ask for it "
            "with `threads: N` under needs; a library that starts one by its import belongs into a worker"
        )

    @contextmanager
    def _modules(self) -> Iterator[None]:
        own = [(loader, name, vars(loader).get(name)) for loader, name in _STEPS]
        for loader, name in _STEPS:
            setattr(loader, name, self._watched(getattr(loader, name)))
        try:
            yield
        finally:
            for loader, name, run in own:
                if run is None:
                    delattr(loader, name)  # inherited
                else:
                    setattr(loader, name, run)

    def _watched(self, run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def step(loader: Any, of: Any) -> Any:  # a module, or its spec: both have a name
            try:
                result = run(loader, of)
            except BaseException as error:
                if not self._module and self.is_refused(error):
                    self._module = _name(of)
                raise
            if not self._module and not self._is_single_task():
                self._module = _name(of)
            return result

        return step


def _name(of: Any) -> str:
    return of.name if isinstance(of, ModuleSpec) else str(of.__name__)
