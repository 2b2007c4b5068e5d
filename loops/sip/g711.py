"""G.711 (ITU-T, 1988), both laws, by tables; samples are s16 in the byte order of the machine. Pure."""

from __future__ import annotations

from array import array


def _of_mu(code: int) -> int:
    code = ~code & 0xFF
    value = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return 0x84 - value if code & 0x80 else value - 0x84


def _of_a(code: int) -> int:
    code ^= 0x55
    value, segment = (code & 0x0F) << 4, (code & 0x70) >> 4
    value = value + 8 if segment == 0 else (value + 0x108) << (segment - 1)
    return value if code & 0x80 else -value


def _nearest(table: list[int]) -> bytes:
    """Return the code of each value of 16 bits, by its unsigned number: the one whose sample is the nearest."""
    order = sorted(range(256), key=lambda code: table[code])
    codes = bytearray(65536)
    at = 0
    for value in range(-32768, 32768):
        while at < 255 and abs(table[order[at + 1]] - value) <= abs(table[order[at]] - value):
            at += 1
        codes[value & 0xFFFF] = order[at]
    return bytes(codes)


class Law:
    """One law of G.711: its number in RTP (RFC 3551), and both directions."""

    def __init__(self, name: str, payload_type: int, table: list[int]) -> None:
        self.name = name
        self.payload_type = payload_type
        self._samples = table
        self._codes = _nearest(table)
        self.silence = self._codes[0]

    def decode(self, codes: bytes) -> bytes:
        """Return the samples of codes."""
        return array("h", map(self._samples.__getitem__, codes)).tobytes()

    def encode(self, samples: bytes) -> bytes:
        """Return the codes of samples."""
        return bytes(map(self._codes.__getitem__, array("H", samples)))


PCMU = Law("PCMU", 0, [_of_mu(code) for code in range(256)])
PCMA = Law("PCMA", 8, [_of_a(code) for code in range(256)])
LAWS = {law.payload_type: law for law in (PCMU, PCMA)}
