"""`imports: [PIL.*]`: every module of a package, for libraries that load their parts when they are first used.

Modules are found by listing the package's folders, before the seal. One that cannot be imported, since it wants a
library that is not there or is made for another system, is left out, with a line in the log: named by itself it would
be an error. Modules that are no parts of a library (`__main__`, its tests) are not looked at, as they run things.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator

from tlsrt import text
from tlsrt.errors import ConfigError

WILDCARD = ".*"
MODULES_MOST = 1024
_NO_PARTS = frozenset({"__main__", "pytest_plugin", "test", "tests", "conftest", "setup", "benchmarks", "examples"})
_NAMED = 8  # in the log
_WORDS = 80


def import_all(pattern: str, log: logging.Logger) -> None:
    """Import the modules that `PACKAGE.*` stands for. Raises ConfigError for too many, ImportError for the package."""
    name = pattern.removesuffix(WILDCARD)
    package = importlib.import_module(name)
    if not hasattr(package, "__path__"):
        raise ConfigError(f"imports: {pattern}: {name} is a module and no package: write `imports: [{name}]`")
    left_out: list[str] = []
    for count, _ in enumerate(_parts(name, left_out), 1):
        if count > MODULES_MOST:
            raise ConfigError(
                f"imports: {pattern}: {name} has more than {MODULES_MOST} modules: name those that it uses"
            )
    if left_out:
        more = f", and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        log.warning(
            "imports: %s: left out, as they cannot be imported: %s%s", pattern, "; ".join(left_out[:_NAMED]), more
        )


def _parts(name: str, left_out: list[str]) -> Iterator[str]:
    """Import the modules below a package, each before what is below it, and give their names."""
    import pkgutil  # for those that need it, and not for each start

    package = importlib.import_module(name)
    for _, short, is_package in pkgutil.iter_modules(package.__path__):
        if short in _NO_PARTS or short.startswith("test_"):
            continue
        module = f"{name}.{short}"
        yield module
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:
            left_out.append(f"{module} ({text.sentence(str(error), _WORDS) or type(error).__name__})")
            continue
        if is_package:
            yield from _parts(module, left_out)
