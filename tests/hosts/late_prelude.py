"""A prelude for a forked host: it changes what was imported already, and proves that this is no difference.

    with RunningHost(prelude=LatePrelude("from tlsrt.loops import io\nio.TIMES = 3")) as host: ...

An executed host runs its prelude before anything else, so that a module which has a name of another one gets what the
prelude put there. In a forked host it has what was there before: a function or a class is exchanged there too, and for
anything else the host does not start. Take plain text for such a prelude, which executes.
"""

from __future__ import annotations

_BEFORE = """\
def _names():
    import sys
    return {name: {**vars(module)} for name, module in [*sys.modules.items()] if name != "__main__"}

_names_before = _names()
"""
_AFTER = """
def _exchange(before):
    import sys, types
    from tlsrt.supervisor.launch import child_entries
    later = getattr(child_entries.import_for_sealed, "put_away", {})  # what the authority alone imports
    held = {name: one for name, one in {**later, **sys.modules}.items() if name.startswith("tlsrt.")}
    missed = []
    for module, names in before.items():
        now = vars(sys.modules[module]) if module in sys.modules else names
        for name, old in names.items():
            if now.get(name) is old or isinstance(old, types.ModuleType) or name.startswith("__"):
                continue
            has_identity = isinstance(old, (type, types.FunctionType))
            of = getattr(old, "__module__", module) if has_identity else module
            if of != module and of.startswith("tlsrt.") and module.startswith("tlsrt."):
                continue  # the others have it from there
            for one in held.values():
                for key in [key for key, value in vars(one).items() if value is old and (has_identity or key == name)]:
                    if has_identity:
                        setattr(one, key, now[name])
                    else:
                        missed.append(f"{one.__name__} has {module}.{name}")
    if missed:
        raise AssertionError(f"a prelude that is late: {', '.join(missed)} as it was before")

_exchange(_names_before)
del _names, _names_before, _exchange
"""


class LatePrelude(str):
    """A prelude that changes what others have imported as well, so that a forked host may have it.

    What is joined with another text is none any more.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> LatePrelude:
        """Return the text with its proof around it."""
        return super().__new__(cls, f"{_BEFORE}{text}{_AFTER}")
