"""Key ring: the run key and the issuer of each epoch. Pure.

An epoch belongs to one version of master_key: its run key, and the issuer that signs its tokens and grants. While a
rotation is under way the present epoch has the keys of one version and the next one those of another; once that is
committed, the older ones are not needed here any more, and are wiped. What loops still verify with the older
version they do with keys of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsrt.supervisor.authority.keys.issuer import Issuer
from tlsrt.supervisor.process.secret_memory import wipe


@dataclass(frozen=True, slots=True)
class EpochKeySet:
    """What is derived from one version of master_key. `run` is keys.run_key."""

    run: bytes = field(repr=False)
    issuer: Issuer
    secrets: bytes = field(repr=False)  # root of the components' secrets


class KeyRing:
    """The keys of the epochs that this authority hands out."""

    def __init__(self, first: EpochKeySet) -> None:
        self._since = {0: first}

    def of(self, epoch: int) -> EpochKeySet:
        """Return the keys of an epoch."""
        return self._since[max(first for first in self._since if first <= epoch)]

    @property
    def newest(self) -> EpochKeySet:
        return self._since[max(self._since)]

    def take(self, epoch: int, keys: EpochKeySet) -> None:
        """Go by other keys from this epoch on."""
        self._since[epoch] = keys

    def forget_before(self, epoch: int) -> None:
        """Wipe the keys that only earlier epochs have."""
        kept = self.of(epoch)
        for keys in self._since.values():
            if keys is not kept and keys.issuer.key_version < kept.issuer.key_version:
                wipe(keys.run)
                wipe(keys.secrets)
        self._since = {0: kept, **{first: keys for first, keys in self._since.items() if first > epoch}}
