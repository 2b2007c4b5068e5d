"""Errors as callers are told of them."""

from __future__ import annotations

from tlsrt.budget import OverBudget
from tlsrt.channels.frames.body import encode_error
from tlsrt.channels.frames.frame import Header
from tlsrt.channels.frames.structure import CONTAINERS_MAX, DEPTH_MAX, StructureError
from tlsrt.errors import Away, CallError, PeerError, Unavailable
from tlsrt.loops.dispatch.faults import Faults
from tlsrt.loops.dispatch.in_flight import RunningCall
from tlsrt.loops.dispatch.processor_shares import ProcessorShares

UNREADABLE = (
    f"cannot read the arguments: a request is one msgpack value, nested at most {DEPTH_MAX} deep, with at most "
    f"{CONTAINERS_MAX} lists and maps, whose keys are texts"
)


def refusal_of(error: PeerError) -> PeerError:
    """Return what is told of a request that cannot be read: of what an innocent caller may send, no more than that."""
    cause = error.__cause__
    return PeerError("unfit_body") if isinstance(cause, StructureError) and cause.is_innocent else error


class ToldErrors:
    """Bodies of errors for the callers of one component."""

    def __init__(self, shares: ProcessorShares, faults: Faults) -> None:
        self._shares = shares
        self._faults = faults

    def of(self, request: RunningCall, error: BaseException) -> bytes:
        """Return the error for the caller; a handler's bug must not reach it, nor end the loop."""
        header = request.header
        if isinstance(error, OverBudget):
            self._shares.over(header.session, error.budget)
        told = error if isinstance(error, CallError) else self._faults.fold(header.method, error)
        request.fault = told.code
        return encode_error(told)

    def of_begun(self, request: RunningCall, error: BaseException) -> bytes:
        """Return the error of a handler that has begun: never `away`, which says that it has not, of another maybe."""
        if isinstance(error, CallError) and error.code == Away.code:
            error = Unavailable(error.message)
        return self.of(request, error)

    def note(self, header: Header, error: BaseException) -> None:
        """Take note of what a handler raised that no caller is told of any more."""
        self._faults.fold(header.method, error)
