"""Errors as callers are told of them."""

from __future__ import annotations

from tlsrt.budget import OverBudget
from tlsrt.channels.frames.body import encode_error
from tlsrt.channels.frames.frame import Header
from tlsrt.errors import Away, CallError, Unavailable
from tlsrt.loops.dispatch.faults import Faults
from tlsrt.loops.dispatch.processor_shares import ProcessorShares


class ToldErrors:
    """Bodies of errors for the callers of one component."""

    def __init__(self, shares: ProcessorShares, faults: Faults) -> None:
        self._shares = shares
        self._faults = faults

    def of(self, header: Header, error: BaseException) -> bytes:
        """Return the error for the caller; a handler's bug must not reach it, nor end the loop."""
        if isinstance(error, OverBudget):
            self._shares.over(header.session, error.budget)
        return encode_error(error if isinstance(error, CallError) else self._faults.fold(header.method, error))

    def of_begun(self, header: Header, error: BaseException) -> bytes:
        """Return the error of a handler that has begun: never `away`, which says that it has not, of another maybe."""
        if isinstance(error, CallError) and error.code == Away.code:
            error = Unavailable(error.message)
        return self.of(header, error)

    def note(self, header: Header, error: BaseException) -> None:
        """Take note of what a handler raised that no caller is told of any more."""
        self._faults.fold(header.method, error)
