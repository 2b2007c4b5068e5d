"""Argument patterns: which arguments a program may be given, as usage lines. Pure.

    args: ["--version", "log -n {count:1-100}", "-i pipe:0 -f {format:/mp3|wav/} pipe:1", "-c {file:text}..."]

Each line is one form of the arguments, of words between blanks; the arguments of a run must fit one form whole, word
by word. A word is literal text with any number of placeholders:

    {name}          a plain word: letters, digits and `_.,:+@-`, which does not begin with `-` or `.`
    {name:text}     any printable text; a word that begins with a placeholder and has one of these does not fit what
                    begins with `-`
    {name:1-100}    a whole number in this range, without a sign or leading zeros
    {name:/REGEX/}  what this expression of Python's `re` matches whole; it refers to groups of its own by their names
    word...         this word once or more often
    {{ }}           braces

An empty line is the form without arguments, which a program without `args` has. No shell is involved: an argument
reaches the program byte for byte, blanks and quotes included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

ARGUMENTS_MOST = 256
ARGUMENT_BYTES_MOST = 16 * 1024
ARGUMENTS_BYTES_MOST = 64 * 1024  # together; far below what execve(2) takes
_WORDS_MOST = 64
_DIGITS_MOST = 18
_PLAIN = r"[A-Za-z0-9_][A-Za-z0-9_.,:+@-]*"
_TEXT = r"[^\x00-\x1f\x7f]+"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_RANGE = re.compile(rf"(0|[1-9][0-9]{{0,{_DIGITS_MOST - 1}}})-(0|[1-9][0-9]{{0,{_DIGITS_MOST - 1}}})")
_NUMBER = rf"(?:0|[1-9][0-9]{{0,{_DIGITS_MOST - 1}}})"
_REPEATED = "..."
_BY_NUMBER = re.compile(r"(\\[1-9]|\(\?\((?![^\W\d]))|\\.", re.DOTALL)  # else an escaped character, such as `(`
_TEXT_END = ":text}"


class ArgumentError(Exception):
    """Arguments that fit no form; the text says why."""


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    pattern: re.Pattern[str]
    ranges: tuple[tuple[str, int, int], ...]  # name of a group, least, most
    is_repeated: bool

    def fits(self, argument: str) -> bool:
        found = self.pattern.fullmatch(argument)
        return found is not None and all(least <= int(found[name]) <= most for name, least, most in self.ranges)


@dataclass(frozen=True, slots=True)
class ArgumentForm:
    """One form of the arguments of a program; equal texts, equal forms."""

    text: str
    words: tuple[_Word, ...] = field(compare=False, repr=False)

    def fits(self, arguments: Sequence[str]) -> bool:
        """Tell whether these are arguments of this form. The work is bounded by words times arguments."""
        last = len(self.words)
        places = {0}  # how many words may have been used up so far
        for argument in arguments:
            following: set[int] = set()
            for place in places:
                if place < last and self.words[place].fits(argument):
                    following.add(place + 1)
                if place and self.words[place - 1].is_repeated and self.words[place - 1].fits(argument):
                    following.add(place)
            if not following:
                return False
            places = following
        return last in places


def parse_form(text: str) -> ArgumentForm:
    """Return the form that a line describes. Raises ValueError with a sentence."""
    words = [_parse_word(word) for word in _split(text)]
    if len(words) > _WORDS_MOST:
        raise ValueError(f"arguments: at most {_WORDS_MOST} words in one form, not {len(words)}")
    return ArgumentForm(text, tuple(words))


def check_arguments_untrusted(arguments: Sequence[bytes], forms: Sequence[ArgumentForm]) -> None:
    """Check the arguments of a run. Raises ArgumentError, and nothing else, for those that fit no form."""
    if len(arguments) > ARGUMENTS_MOST:
        raise ArgumentError(f"there are {len(arguments)} arguments, more than {ARGUMENTS_MOST}")
    if sum(map(len, arguments)) > ARGUMENTS_BYTES_MOST:
        raise ArgumentError(f"the arguments are longer than {ARGUMENTS_BYTES_MOST} bytes")
    texts: list[str] = []
    for number, argument in enumerate(arguments, 1):
        if len(argument) > ARGUMENT_BYTES_MOST:
            raise ArgumentError(f"argument {number} is longer than {ARGUMENT_BYTES_MOST} bytes")
        if b"\0" in argument:
            raise ArgumentError(f"argument {number} holds a null byte")
        try:
            texts.append(argument.decode("utf-8"))
        except UnicodeDecodeError:
            raise ArgumentError(f"argument {number} is not UTF-8 text") from None
    if not any(form.fits(texts) for form in forms or (NO_ARGUMENTS,)):
        raise ArgumentError(f"the arguments {_shown(texts)} fit none of its forms: {_forms(forms)}")


def _shown(texts: Sequence[str]) -> str:
    line = " ".join(map(ascii, texts))
    return line if len(line) <= 200 else f"{line[:200]}..."


def _forms(forms: Sequence[ArgumentForm]) -> str:
    return "; ".join(form.text or "no arguments" for form in forms) or "it takes none"


def _split(text: str) -> list[str]:
    """Return the words of a line: a blank between braces belongs to its word."""
    words: list[str] = []
    word, at = "", 0
    while at < len(text):
        if text[at] == " ":
            words, word, at = [*words, word] if word else words, "", at + 1
            continue
        end = _end_of_piece(text, at)
        word, at = word + text[at:end], end
    return [*words, word] if word else words


def _end_of_piece(text: str, at: int) -> int:
    """Return where the piece that begins at `at` ends: a character, a doubled brace, or a placeholder."""
    if text[at : at + 2] in ("{{", "}}"):
        return at + 2
    if text[at] == "}":
        raise ValueError(f"arguments: a }} without a {{ in {text!r}; write }}}} for the character")
    if text[at] != "{":
        return at + 1
    head = re.compile(r"\{[^{}:/]*:/").match(text, at)
    end = text.find("/}", head.end()) + 1 if head is not None else text.find("}", at)
    if end <= 0:
        raise ValueError(f"arguments: a {{ without its }} in {text!r}; write {{{{ for the character")
    return end + 1


def _parse_word(word: str) -> _Word:
    is_repeated = word.endswith(_REPEATED) and word != _REPEATED
    text = word.removesuffix(_REPEATED) if is_repeated else word
    if word == _REPEATED:
        raise ValueError("arguments: `...` goes right behind the word that is repeated")
    expression, at, has_text = "", 0, False
    ranges: list[tuple[str, int, int]] = []
    while at < len(text):
        end = _end_of_piece(text, at)
        piece = text[at:end]
        if piece in ("{{", "}}"):
            expression += re.escape(piece[0])
        elif piece[0] != "{":
            expression += re.escape(piece)
        else:
            expression += _placeholder(piece[1:-1], ranges)
            has_text = has_text or piece.endswith(_TEXT_END)
        at = end
    if has_text and text[0] == "{" and text[:2] != "{{":
        expression = f"(?!-){expression}"  # for the whole word: what stands before the text may fit nothing
    try:
        return _Word(word, re.compile(expression, re.DOTALL), tuple(ranges), is_repeated)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"arguments: {word!r} is no pattern: {error}") from None


def _placeholder(inside: str, ranges: list[tuple[str, int, int]]) -> str:
    """Return the expression of a placeholder. Raises ValueError with a sentence."""
    name, _, kind = inside.partition(":")
    if not _NAME.fullmatch(name):
        raise ValueError(f"arguments: {{{inside}}} needs a name of a-z, 0-9 and _, such as {{count:1-100}}")
    if kind.startswith("/") and kind.endswith("/") and len(kind) > 2:
        try:
            re.compile(kind[1:-1])  # alone: no bracket of it may close one of ours
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"arguments: {kind} is no regular expression: {error}") from None
        if any(found[1] for found in _BY_NUMBER.finditer(kind[1:-1])):
            raise ValueError(
                f"arguments: {kind} refers to a group by its number, which is another one here; give the group a name "
                "with (?P<NAME>...) and refer to it with (?P=NAME) or (?(NAME)...)"
            )
        return f"(?P<{name}>{kind[1:-1]})"
    if bounds := _RANGE.fullmatch(kind):
        least, most = int(bounds[1]), int(bounds[2])
        if least > most:
            raise ValueError(f"arguments: {{{inside}}} is a range without a number")
        ranges.append((name, least, most))
        return f"(?P<{name}>{_NUMBER})"
    if kind == "text":
        return f"(?P<{name}>{_TEXT})"
    if kind == "":
        return f"(?P<{name}>{_PLAIN})"
    raise ValueError(f"arguments: {{{inside}}} has no type that there is: text, a range such as 1-100, or /REGEX/")


NO_ARGUMENTS = parse_form("")
