"""Import of a loop's components: the operator's code, in a half sealed process."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path

from tlsrt import text
from tlsrt.channels.control.life import FailCode
from tlsrt.config.code_look import ProcessCode
from tlsrt.config.components import ComponentConfig
from tlsrt.config.deception import DeceptionConfig
from tlsrt.config.processes import may_run_in
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.loops.component.component import Component, read_options
from tlsrt.loops.component.method import required_parameters
from tlsrt.loops.component.surroundings import give
from tlsrt.loops.program.component import component_class
from tlsrt.loops.runtime.disk_waits import is_of_disk
from tlsrt.loops.runtime.remembered_versions import remember_versions
from tlsrt.loops.runtime.thread_watch import ThreadWatch
from tlsrt.loops.runtime.wildcard_imports import WILDCARD, import_all
from tlsrt.sandbox.apply.enter import Confinement
from tlsrt.sandbox.apply.imports import remember_sources

_RESOURCES = ("importlib.resources", "importlib.readers")  # which reading package data imports when it is used
PAGE_MAX = 128 * 1024  # bytes of a component's page: it travels in one answer
_WORDS = 300  # characters of what an import raised, in the one sentence


class LoopFailure(Exception):
    """Ends the process; the code goes to the supervisor, the sentence to the log."""

    def __init__(self, code: FailCode, index: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.index = index


def check_placement(process: str, configs: Sequence[ComponentConfig]) -> None:
    """Raise LoopFailure for a component that this process may not host: Primary hosts the events and nothing else."""
    for index, config in enumerate(configs):
        if not may_run_in(process, config.address, is_builtin=config.builtin):
            sentence = f"component {config.address} cannot run in the process {process}: it has its own"
            raise LoopFailure(FailCode.IMPORT, index, sentence)


def import_components(
    configs: Sequence[ComponentConfig], log: logging.Logger, watch: ThreadWatch
) -> list[tuple[ComponentConfig, Component]]:
    """Return the components, made and not started, with options that fit them.

    Raises LoopFailure for the first that cannot be imported, or does not take its options.
    """
    made: list[tuple[ComponentConfig, Component]] = []
    for index, config in enumerate(configs):
        with watch.component(index, config.address):
            try:
                component = _import(index, config, log)
                _warm_up(index, config, component, log)
                if config.page:
                    give(component, _tlsrt_page=_page(index, config))
            except LoopFailure as failure:
                if not watch.is_refused(failure.__cause__):
                    raise
                watch.note_refused(index, config.address)
                raise LoopFailure(FailCode.THREADS, index, watch.sentence()) from failure
        made.append((config, component))
    if any(not config.builtin for config in configs):
        remember_versions()
    remember_sources({config.class_path.partition(".")[0].partition(":")[0] for config, _ in made})
    return made


def _import(index: int, config: ComponentConfig, log: logging.Logger) -> Component:
    module, _, attribute = config.class_path.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
        if not (isinstance(kind, type) and issubclass(kind, Component)):
            raise TypeError(f"{attribute} is no class derived from tlsrt.Component")
        if more := required_parameters(kind.__init__):
            does = "but the runtime makes the object without arguments; read self.options in `start`"
            raise TypeError(f"{attribute}.__init__ takes {', '.join(more)}, {does}")
        _check_options(index, kind, config, log)
        if config.kind == "program":
            kind = component_class(config)
        for name in (*config.imports, *(_RESOURCES if config.data else ())):
            if name.endswith(WILDCARD):
                import_all(name, log)
            else:
                importlib.import_module(name)
        made: Component = kind()
        return made
    except (Exception, SystemExit) as error:
        if isinstance(error, LoopFailure):
            raise
        log.exception("cannot import %s", config.class_path)
        words = text.sentence(str(error), _WORDS) or type(error).__name__
        sentence = f"component {config.address}: cannot import {config.class_path}: {words}"
        raise LoopFailure(FailCode.IMPORT, index, sentence) from error


def _warm_up(index: int, config: ComponentConfig, component: Component, log: logging.Logger) -> None:
    options = read_options(type(component), config.address, config.options, config.place)
    give(component, address=config.address, options=options, log=logging.getLogger(config.address))
    try:
        component.warm_up()
    except (Exception, SystemExit) as error:
        log.exception("%s does not warm up", config.address)
        words = text.sentence(str(error), _WORDS) or type(error).__name__
        sentence = f"component {config.address}: warm_up raised {type(error).__name__}: {words}"
        raise LoopFailure(FailCode.IMPORT, index, sentence) from error


def _page(index: int, config: ComponentConfig) -> str:
    """Return the page that a component brings for the console, from its package; its code was measured with it."""
    folders = [Path(folder) for folder in getattr(importlib.import_module(config.package), "__path__", ())]
    try:
        path = next((folder / config.page for folder in folders if (folder / config.page).is_file()), None)
        data = path.read_bytes() if path is not None else b""
        if path is not None and 0 < len(data) <= PAGE_MAX:
            return data.decode()
        problem = f"a page has at least one byte and at most {PAGE_MAX}" if path else "its package has no such file"
    except UnicodeDecodeError:
        problem = "it is no UTF-8 text"
    except OSError as error:
        problem = str(error)
    raise LoopFailure(FailCode.IMPORT, index, f"component {config.address}: page {config.page}: {problem}")


def _check_options(index: int, kind: type[Component], config: ComponentConfig, log: logging.Logger) -> None:
    try:
        read_options(kind, config.address, config.options, config.place)
    except ConfigError as error:
        for problem in error.problems[1:]:
            log.error("%s", problem)
        others = len(error.problems) - 1
        more = f"; and {others} more, in its log" if others else ""
        raise LoopFailure(FailCode.CONFIGURATION, index, f"{error.problems[0]}{more}") from None


def check_disk(components: Sequence[tuple[ComponentConfig, Component]]) -> None:
    """Raise LoopFailure for a database without room for it, and for a disk thread that was not asked for."""
    for index, (config, component) in enumerate(components):
        if (count := len(component.disk_threads)) > config.needs.disk_threads:
            sentence = f"{config.address} makes disk threads: put `disk_threads: {count}` under its needs"
            raise LoopFailure(FailCode.IMPORT, index, sentence)
        if component._tlsrt_database is not None and not config.needs.state_mb:
            sentence = f"{config.address} declares a database: put `state_mb: N` under its needs, the room for it"
            raise LoopFailure(FailCode.IMPORT, index, sentence)


def check_code(code: ProcessCode, log: logging.Logger) -> None:
    """Raise LoopFailure where code was exchanged while it was imported: nothing of it has served yet."""
    if (change := code.change_inside()) is None:
        return
    if code.is_strict:
        raise LoopFailure(FailCode.CODE_CHANGED, 0, str(change))
    log.warning("%s", change)


def check_tasks(confinement: Confinement, watch: ThreadWatch) -> None:
    """Raise LoopFailure for a thread that an import has started: it would keep the rights from before the seal."""
    try:
        confinement.assert_one_task()
    except SandboxError as error:
        raise LoopFailure(FailCode.THREADS, watch.index, watch.sentence()) from error


def check_decoys(components: Sequence[tuple[ComponentConfig, Component]], decoys: DeceptionConfig) -> None:
    """Raise LoopFailure for a method that is real and a decoy: its user would be taken for an attacker."""
    for index, (config, component) in enumerate(components):
        for address, method in decoys.methods:
            if address == config.address and method in component.__tlsrt_methods__:
                sentence = f"{address} has a method {method}, so it cannot be a decoy: take it out of deception.methods"
                raise LoopFailure(FailCode.IMPORT, index, sentence)


def start_code(error: Exception) -> FailCode:
    """Return why a component did not start: another try may go well, unless it says that its configuration is wrong."""
    if isinstance(error, ConfigError):
        return FailCode.CONFIGURATION
    return FailCode.DISK if is_of_disk(error) else FailCode.COMPONENT_START


def start_sentence(address: str, error: Exception) -> str:
    """Return one line that says what `start` has raised."""
    words = text.sentence(str(error), _WORDS)
    if isinstance(error, ConfigError):
        return f"component {address}: {words}"
    return f"component {address}: start raised {type(error).__name__}{f': {words}' if words else ''}"
