"""Structure of a value: its depth and its claimed lengths are checked before anything of it is built. Pure.

Theory of operation. msgpack makes a list of N elements as soon as a header claims N, and goes 1024 levels deep; so
5 KB of headers within headers cost 30 ms. Here the headers are read first, by `Unpacker.skip`, which runs the parser of
msgpack without building anything:

- Once for what is claimed. A header that claims more than there is leaves the value incomplete.
- Once for the depth, by a parser that is inside of so many arrays already that only `depth` levels of its stack are
  left. Those arrays never end, so one value after the other can be read there.

Both are needed for few bodies only. One of `SMALL` bytes with no more header bytes than levels can be neither too deep
nor claim much, whatever these bytes are: that is counted by `bytes.translate`. Most larger ones hold one large text or
bin beside a few small ones. The number of lists and maps is counted
while they are built. Keys of maps are str or bin: the hash of a number is no secret, so numbers can be chosen that
make a map of n keys cost n * n; and JSON has no others.

A parser that was left in the middle of a value is thrown away.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, Final

import msgpack

from tlsrt.errors import InternalError

DEPTH_MAX: Final = 32  # lists and maps within each other, empty ones too
CONTAINERS_MAX: Final = 8192  # lists and maps in one body: measured, 16,000 empty lists take 1 ms
SMALL = 512  # bytes
_ARRAYS = bytes((0x80, *range(0x90, 0xA0), 0xDC, 0xDD))  # and the empty map, which has no key
_MAPS = bytes((*range(0x81, 0x90), 0xDE, 0xDF))
_EXTENSIONS = bytes((0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)))
_ARRAY, _OTHER = 1, 2
_KINDS = bytes(1 if byte in _ARRAYS else 2 if byte in _MAPS + _EXTENSIONS else 0 for byte in range(256))
_HEADS = bytes(min(1, kind) for kind in _KINDS)
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bin and str, and the bytes of their lengths
_ENDLESS = b"\xdd\xff\xff\xff\xff"


def _refuse(code: int, data: bytes) -> Any:
    raise ValueError("max_ext_len")  # which an empty one is not above


_unpack = partial(msgpack.unpackb, raw=False, strict_map_key=True, max_ext_len=0, ext_hook=_refuse)


class StructureError(ValueError):
    """A value that is not within the bounds; the text says which one, in words that continue a sentence.

    `is_innocent`: a packer that knows nothing of our bounds makes such values, too.
    """

    def __init__(self, sentence: str, *, is_innocent: bool = False) -> None:
        super().__init__(sentence)
        self.is_innocent = is_innocent


def heads(body: bytes) -> int:
    """Return the most lists and maps that a body can hold."""
    size = len(body)
    if size < CONTAINERS_MAX // 32:
        return size
    return 3 if _is_flat(body) else body.translate(_HEADS).count(1)


def unpack_untrusted(body: bytes, depth: int = DEPTH_MAX) -> Any:
    """Return the value; raise StructureError for anything that is not exactly one, within the bounds."""
    size = len(body)
    try:
        if size > SMALL:
            if _is_flat(body):
                return _unpack(body)
            _scan(body, depth)
        elif size > depth and body.translate(_HEADS).count(1) > depth:
            _scan(body, depth)
        if size <= CONTAINERS_MAX:
            return _unpack(body)
        count = _counter()
        next(count)
        return _unpack(body, list_hook=count.send, object_hook=count.send)
    except StructureError:
        raise
    except Exception as error:  # msgpack raises half a dozen classes
        raise _why(error, depth, body) from error


def check_packed(body: bytes, depth: int = DEPTH_MAX) -> None:
    """Raise StructureError if `unpack_untrusted` would, for what our own packer has made of a list or map.

    A large one is not looked at: to unpack it once more costs more than to pack it, and its reader says the same.
    """
    if len(body) > CONTAINERS_MAX:
        return
    kinds = body.translate(_KINDS)
    if _OTHER in kinds or kinds.count(_ARRAY) > depth:
        unpack_untrusted(body, depth)


def _is_flat(body: bytes) -> bool:
    """Tell whether a body is one text or bin, or a request with such arguments alone: most large ones are."""
    if body[0] in _LENGTHS:
        return True
    if body[0] != 0x93 or not 0x91 <= body[1] <= 0x9F or body[-2:] != b"\x80\xc0":
        return False
    at = 2
    for _ in range(body[1] & 15):
        if at >= len(body):
            return False
        code = body[at]
        width = _LENGTHS.get(code)
        if width is not None:
            at += 1 + width + int.from_bytes(body[at + 1 : at + 1 + width], "big")
        elif 0xA0 <= code < 0xC0:
            at += 1 + (code & 31)
        elif code < 0x80 or code >= 0xE0:
            at += 1
        else:
            return False
    return at == len(body) - 2


def _counter() -> Generator[Any, Any, None]:
    """Hand back each list and map, until there are too many."""
    made = None
    for _ in range(CONTAINERS_MAX + 1):  # the first yield is for `next`
        made = yield made
    raise StructureError(f"it holds more than {CONTAINERS_MAX} lists and maps", is_innocent=True)


def _why(error: Exception, depth: int, body: bytes) -> StructureError:
    if isinstance(error, msgpack.StackError):
        return StructureError(f"it is nested more than {depth} deep", is_innocent=_is_whole(body))
    if "map key" in str(error):
        return StructureError("a map has a key that is no str", is_innocent=True)
    if "max_ext_len" in str(error):
        return StructureError("it holds an extension type")
    return StructureError("it is not one whole msgpack value")


# -- the scan -------------------------------------------------------------------------------------------------


def _inside(levels: int) -> msgpack.Unpacker:
    """Return a parser that is inside of so many arrays which never end."""
    parser = msgpack.Unpacker(read_size=4096, max_buffer_size=1 << 20)
    if levels:
        parser.feed(_ENDLESS * levels)
        try:
            parser.skip()
        except msgpack.OutOfData:
            pass
    return parser


def _stack_size() -> int:
    """Return how deep msgpack goes. It is a constant of its C code; the parser in Python has none."""
    for size in (1024, 512, 2048, 4096):
        try:
            _inside(size)
            _inside(size + 1)
        except msgpack.StackError:
            return size
    raise InternalError("msgpack has no bound of its own: its C extension is missing")


_STACK = _stack_size()


def _is_whole(body: bytes) -> bool:
    """Tell whether a body holds all that it claims, as what a packer has made does."""
    parser = _inside(0)
    parser.feed(body)
    try:
        parser.skip()
    except Exception:
        return False
    return bool(parser.tell() == len(body))


class _Scanner:
    """Two parsers, for a depth."""

    __slots__ = ("_claims", "_depth")

    def __init__(self, depth: int) -> None:
        self._claims = _inside(0)
        self._depth = _inside(_STACK - depth)

    def read(self, body: bytes) -> None:
        """Raise what msgpack raises for a body that is not one value, or is too deep."""
        claims, depth = self._claims, self._depth
        end = claims.tell() + len(body)
        claims.feed(body)
        claims.skip()
        if claims.tell() != end:
            raise StructureError("it is not one whole msgpack value")
        depth.feed(body)
        try:
            depth.skip()
        except msgpack.OutOfData:
            return  # as the arrays around it have not ended


_idle: dict[int, list[_Scanner]] = {}


def _scan(body: bytes, depth: int) -> None:
    if len(body) > CONTAINERS_MAX:  # then it is cheaper to go once through many arrays and the body
        parser = msgpack.Unpacker(read_size=len(body), max_buffer_size=1 << 20)
        parser.feed(b"\x91" * (_STACK - depth))
        parser.feed(body)
        parser.skip()
        if parser.tell() != _STACK - depth + len(body):
            raise StructureError("it is not one whole msgpack value")
        return
    idle = _idle.setdefault(depth, [])
    try:
        scanner = idle.pop()  # so that two threads never use the same one
    except IndexError:
        scanner = _Scanner(depth)
    scanner.read(body)
    idle.append(scanner)
