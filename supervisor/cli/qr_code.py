"""QR codes for a terminal (ISO/IEC 18004:2015): bytes, level L, versions 1 to 9. Pure.

The text that is drawn is a link with a secret, and the command that draws it speaks with the host's supervisor: so it
is a hundred lines here and no library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

BYTES_MAX = 230  # in version 9
_MODE_BYTES, _LEVEL_L = 0b0100, 0b01
_CORRECTING = (7, 10, 15, 20, 26, 18, 20, 24, 30)  # code words of each block, by version (table 9, level L)
_BLOCKS = (1, 1, 1, 1, 1, 2, 2, 2, 2)
_FORMAT_POLY, _FORMAT_MASK, _VERSION_POLY = 0x537, 0x5412, 0x1F25
_FIELD_POLY = 0x11D  # of GF(2^8)
_QUIET = 2  # modules around it; the standard wants 4, and every reader takes 2
_MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda x, y: (x + y) % 2 == 0,
    lambda x, y: y % 2 == 0,
    lambda x, y: x % 3 == 0,
    lambda x, y: (x + y) % 3 == 0,
    lambda x, y: (x // 3 + y // 2) % 2 == 0,
    lambda x, y: x * y % 2 + x * y % 3 == 0,
    lambda x, y: (x * y % 2 + x * y % 3) % 2 == 0,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2 == 0,
)

Grid = list[list[bool]]  # rows of modules; True is dark


def qr_code(data: bytes) -> Grid:
    """Return the smallest code for these bytes. Raises ValueError for more than BYTES_MAX."""
    version = next((each for each in range(1, 10) if len(data) <= _capacity(each)), 0)
    if not version:
        raise ValueError("too long for a code of version 9")
    symbol = _Symbol(version)
    symbol.place(_interleaved(_padded(data, version), version))
    return min((symbol.masked(mask) for mask in range(8)), key=_penalty)


def terminal_lines(grid: Grid) -> list[str]:
    """Return a code as lines of half blocks, light on a dark ground: two rows of modules to a line."""
    size = len(grid) + 2 * _QUIET

    def is_light(x: int, y: int) -> bool:
        inside = _QUIET <= x < size - _QUIET and _QUIET <= y < size - _QUIET
        return y < size and not (inside and grid[y - _QUIET][x - _QUIET])

    blocks = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
    return ["".join(blocks[is_light(x, y), is_light(x, y + 1)] for x in range(size)) for y in range(0, size, 2)]


def _words(version: int) -> int:
    """Return how many code words there are in all."""
    modules = (16 * version + 128) * version + 64
    if version >= 2:
        aligned = version // 7 + 2
        modules -= (25 * aligned - 10) * aligned - 55
    return (modules - (36 if version >= 7 else 0)) // 8


def _data_words(version: int) -> int:
    return _words(version) - _CORRECTING[version - 1] * _BLOCKS[version - 1]


def _capacity(version: int) -> int:
    return _data_words(version) - 2  # 4 bits of mode, 8 of length, 4 at the end


def _padded(data: bytes, version: int) -> bytes:
    bits = (_MODE_BYTES << 8 | len(data)) << 8 * len(data) | int.from_bytes(data, "big")
    whole = (bits << 4).to_bytes(len(data) + 2, "big")
    return (whole + b"\xec\x11" * _data_words(version))[: _data_words(version)]


def _interleaved(data: bytes, version: int) -> bytes:
    """Return the data with their Reed-Solomon code words, the blocks mixed."""
    count, correcting = _BLOCKS[version - 1], _CORRECTING[version - 1]
    short, longer = divmod(len(data), count)
    blocks, at = [], 0
    for number in range(count):
        size = short + (number >= count - longer)
        blocks.append(data[at : at + size])
        at += size
    checks = [_remainder(block, _divisor(correcting)) for block in blocks]
    mixed = [block[at] for at in range(short + 1) for block in blocks if at < len(block)]
    return bytes(mixed + [check[at] for at in range(correcting) for check in checks])


def _times(left: int, right: int) -> int:
    product = 0
    for bit in range(7, -1, -1):
        product = (product << 1) ^ (product >> 7) * _FIELD_POLY
        product ^= (right >> bit & 1) * left
    return product


def _divisor(degree: int) -> list[int]:
    result = [0] * (degree - 1) + [1]
    root = 1
    for _ in range(degree):
        for at in range(degree):
            result[at] = _times(result[at], root) ^ (result[at + 1] if at + 1 < degree else 0)
        root = _times(root, 2)
    return result


def _remainder(data: bytes, divisor: list[int]) -> list[int]:
    result = [0] * len(divisor)
    for byte in data:
        factor = byte ^ result.pop(0)
        result.append(0)
        result = [have ^ _times(each, factor) for have, each in zip(result, divisor, strict=True)]
    return result


def _checked(value: int, bits: int, poly: int) -> int:
    """Return a value with the remainder of its BCH code."""
    rest = value << bits
    for at in range(rest.bit_length() - 1, bits - 1, -1):
        if rest >> at & 1:
            rest ^= poly << (at - bits)
    return value << bits | rest


class _Symbol:
    """A code that is being drawn."""

    def __init__(self, version: int) -> None:
        self.size = version * 4 + 17
        self._grid: Grid = [[False] * self.size for _ in range(self.size)]
        self._is_fixed: Grid = [[False] * self.size for _ in range(self.size)]
        for at in range(self.size):
            self._fix(6, at, at % 2 == 0)
            self._fix(at, 6, at % 2 == 0)
        for x, y in ((3, 3), (self.size - 4, 3), (3, self.size - 4)):
            self._square(x, y, 4, (2, 4))
        ends = self._alignments(version)
        for x in ends:
            for y in ends:
                if (x, y) not in ((6, 6), (6, ends[-1]), (ends[-1], 6)):
                    self._square(x, y, 2, (1,))
        self._draw_format(self._grid, 0)
        if version >= 7:
            bits = _checked(version, 12, _VERSION_POLY)
            for at in range(18):
                x, y = self.size - 11 + at % 3, at // 3
                self._fix(x, y, bool(bits >> at & 1))
                self._fix(y, x, bool(bits >> at & 1))

    def place(self, words: bytes) -> None:
        """Put the code words where nothing else is."""
        bits = iter([bool(byte >> at & 1) for byte in words for at in range(7, -1, -1)])
        for x, y in self._path():
            self._grid[y][x] = next(bits, False)

    def masked(self, mask: int) -> Grid:
        """Return the code with a mask, and its number in it."""
        flips = _MASKS[mask]
        grid = [
            [dark ^ (flips(x, y) and not self._is_fixed[y][x]) for x, dark in enumerate(row)]
            for y, row in enumerate(self._grid)
        ]
        self._draw_format(grid, mask)
        return grid

    def _path(self) -> Iterator[tuple[int, int]]:
        """Return the places of data: columns of two from the right, up and down."""
        for right in (*range(self.size - 1, 7, -2), 5, 3, 1):
            is_up = (right + 1) & 2 == 0
            for at in range(self.size):
                y = self.size - 1 - at if is_up else at
                for x in (right, right - 1):
                    if not self._is_fixed[y][x]:
                        yield x, y

    def _fix(self, x: int, y: int, dark: bool) -> None:
        self._grid[y][x] = dark
        self._is_fixed[y][x] = True

    def _square(self, x: int, y: int, radius: int, light: tuple[int, ...]) -> None:
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if 0 <= x + dx < self.size and 0 <= y + dy < self.size:
                    self._fix(x + dx, y + dy, max(abs(dx), abs(dy)) not in light)

    def _alignments(self, version: int) -> list[int]:
        if version == 1:
            return [6]
        count = version // 7 + 2
        step = (version * 8 + count * 3 + 5) // (count * 4 - 4) * 2
        return [6, *reversed([self.size - 7 - at * step for at in range(count - 1)])]

    def _draw_format(self, grid: Grid, mask: int) -> None:
        bits = _checked(_LEVEL_L << 3 | mask, 10, _FORMAT_POLY) ^ _FORMAT_MASK
        last = self.size - 1
        first = [*((8, at) for at in range(6)), (8, 7), (8, 8), (7, 8), *((14 - at, 8) for at in range(9, 15))]
        second = [*((last - at, 8) for at in range(8)), *((8, self.size - 15 + at) for at in range(8, 15))]
        for places in (first, second):
            for at, (x, y) in enumerate(places):
                grid[y][x] = bool(bits >> at & 1)
                self._is_fixed[y][x] = True
        grid[self.size - 8][8] = self._is_fixed[self.size - 8][8] = True


def _penalty(grid: Grid) -> int:
    """Return how hard a code is to read (ISO/IEC 18004, 7.8.3)."""
    size, points = len(grid), 0
    finder = (True, False, True, True, True, False, True)
    for rows in (grid, [list(column) for column in zip(*grid, strict=True)]):
        for row in rows:
            run = 1
            for at in range(1, size + 1):
                if at < size and row[at] == row[at - 1]:
                    run += 1
                    continue
                points += run - 2 if run >= 5 else 0
                run = 1
            for at in range(size - 6):
                if tuple(row[at : at + 7]) == finder and (
                    not any(row[max(0, at - 4) : at]) or not any(row[at + 7 : at + 11])
                ):
                    points += 40
    for upper, lower in pairwise(grid):
        for at in range(size - 1):
            points += 3 if upper[at] == upper[at + 1] == lower[at] == lower[at + 1] else 0
    dark = sum(map(sum, grid)) * 20 // (size * size)
    return points + 10 * abs(dark - 10)
