"""Options of a component: the class `Options` in it, compiled as handlers are, and the values that a file gives.

    class Kettle(Component):
        class Options:
            watts: Annotated[int, Range(1, 3000), "Power at full heat."] = 2000

The class is made a frozen dataclass if it is none; a text in `Annotated` is the documentation of an option. What a
file gives is plain values, and each is checked by the type of its field: nothing of it is looked up, called or run. A
wrong one is a sentence with its place in the file, in the process of that component and nowhere else.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tlsrt.errors import ConfigError, MisuseError
from tlsrt.loops.component.types import Mismatch, ParameterType, to_json, to_plain
from tlsrt.loops.component.validate import OPTION, compile_shape
from tlsrt.text import did_you_mean, printable, sentence

NAME = "Options"
Where = tuple[str, ...]  # keys below `options`, the outermost first; an entry of a list has its index
_SENTENCE = 300  # characters of what a check of the author's says
_DOC = 200  # of documentation in a sentence
_REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError)  # by which a __post_init__ refuses


@dataclasses.dataclass(frozen=True)
class Option:
    """One option: its type, its default if it has one, and what its author says of it."""

    name: str
    shape: ParameterType
    required: bool
    default: object = None  # as JSON shows it
    doc: str = ""


@dataclasses.dataclass(frozen=True)
class OptionsSpec:
    """The options of one class of components: the frozen dataclass, and each field."""

    kind: Callable[..., Any]
    options: Mapping[str, Option]

    def read(self, address: str, given: Mapping[str, object], place: Callable[[Where], str]) -> Any:
        """Return the object of these options. Raise ConfigError with a sentence for each that is wrong.

        `place` returns FILE:LINE:COL of a key, or an empty text.
        """
        problems: list[str] = []
        found: dict[str, Any] = {}

        def refuse(where: Where, words: str) -> None:
            before = place(where)
            problems.append(f"{before}: {address}: {words}" if before else f"{address}: {words}")

        for name, value in given.items():
            option = self.options.get(name)
            if option is None:
                refuse((name,), f"unknown option {printable(name, 60)}{self._hint(name)}")
                continue
            try:
                found[name] = option.shape.check(value)
            except Mismatch as error:
                refuse((name, *error.keys), f"option {name}{error.path}: {sentence(error.reason, _SENTENCE)}")
        for option in self.options.values():
            if option.required and option.name not in given:
                doc = f" ({printable(option.doc, _DOC)})" if option.doc else ""
                refuse((), f"option {option.name} is missing: {option.shape.text}{doc}")
        if not problems:
            try:
                return self.kind(**found)
            except _REFUSALS as error:
                refuse((), f"options: {sentence(str(error), _SENTENCE) or type(error).__name__}")
        raise ConfigError(problems)

    def _hint(self, name: str) -> str:
        has = f": it has {', '.join(self.options)}" if self.options else ": it has none"
        return did_you_mean(name, self.options) or has


def compile_options(owner: type, kind: object) -> OptionsSpec:
    """Return the options of a class of components. Raise MisuseError that names the option which cannot be one."""
    where = f"{owner.__name__}.{NAME}"
    if not isinstance(kind, type):
        raise MisuseError(f"{where} must be a class with an annotation for each option, such as `watts: int = 2000`")
    made = _frozen(where, kind)
    hints = _hints(where, made, owner)
    _refuse_bare(where, made)
    options = {}
    for field in dataclasses.fields(made):
        if field.init:
            options[field.name] = _option(f"{where}.{field.name}", field, hints[field.name])
    return OptionsSpec(made, options)


def _frozen(where: str, kind: type) -> Any:
    """Return it as a frozen dataclass: itself, changed in place if its author did not say so."""
    own: Any = vars(kind).get("__dataclass_params__")
    if own is None:
        try:
            return dataclasses.dataclass(frozen=True, kw_only=True)(kind)
        except (TypeError, ValueError) as error:
            raise MisuseError(f"{where}: {error}{_advice(str(error))}") from None
    if not own.frozen:
        raise MisuseError(f"{where} must be frozen: @dataclass(frozen=True), or no decorator at all")
    return kind


def _advice(words: str) -> str:
    if "mutable default" in words:
        return "; or a tuple: `names: tuple[str, ...] = ()`"
    return "; make the class that it comes from frozen too" if "non-frozen" in words else ""


def _hints(where: str, kind: type, owner: type) -> Mapping[str, Any]:
    """Return the types of its fields, which may name what stands in the body of the component's class."""
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError:
        pass
    except Exception as error:
        raise MisuseError(f"{where}: cannot resolve its annotations at run time: {error}") from None
    try:
        return get_type_hints(kind, localns=dict(vars(owner)), include_extras=True)
    except Exception as error:
        raise MisuseError(f"{where}: cannot resolve its annotations at run time: {error}") from None


def _refuse_bare(where: str, kind: type) -> None:
    """Refuse `watts = 2000`, which is no field and would be no option."""
    annotated = inspect.get_annotations(kind)
    for name, value in vars(kind).items():
        is_made = name.startswith("_") or callable(value) or hasattr(type(value), "__get__")
        if not is_made and name not in annotated:
            raise MisuseError(f"{where}.{name} has no type, so it is no option: write `{name}: {type(value).__name__}`")


def _option(where: str, field: dataclasses.Field[Any], hint: object) -> Option:
    if field.name.startswith("_"):
        raise MisuseError(f"{where}: an option's name does not start with an underscore")
    try:
        shape = compile_shape(hint, (OPTION,))
    except MisuseError as error:
        raise MisuseError(f"{where}: {error}") from None
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    default = None if required else _default_of(where, field, shape)
    doc = " ".join(one for one in get_args(hint)[1:] if isinstance(one, str)) if get_origin(hint) is Annotated else ""
    return Option(field.name, shape, required, default, doc)


def _default_of(where: str, field: dataclasses.Field[Any], shape: ParameterType) -> object:
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    try:
        shape.check(to_plain(default))
    except Mismatch as error:
        raise MisuseError(f"{where}: its default does not fit {shape.text}: {error.reason}") from None
    plain = to_json(default)
    return plain if isinstance(plain, (bool, int, float, str, list, dict, type(None))) else str(plain)
