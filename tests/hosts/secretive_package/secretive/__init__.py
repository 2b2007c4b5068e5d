"""Components with a secret: one that uses its own, and one that is after another's."""

from __future__ import annotations

from pathlib import Path

from tlsrt import Component, handler


class Login(Component):
    """Has a secret."""

    @handler
    async def token(self) -> str:
        return self.secret("broker").hex()

    @handler
    async def has_proxy(self) -> bool:
        return self.secret("proxy", None) is not None


class Slow(Login):
    """Is born and waits, before it joins, for the end of a file, if that is there."""

    def warm_up(self) -> None:
        gate = Path("/state/gate")
        if gate.exists():
            gate.read_bytes()


class Thief(Login):
    """Tries to read files that hold secrets."""

    @handler
    async def steal(self, paths: list[str]) -> list[str]:
        said: list[str] = []
        for path in paths:
            try:
                with open(path, "rb") as file:
                    said.append(file.read().hex())
            except OSError as error:
                said.append(f"{type(error).__name__}: {error}")
        return said
