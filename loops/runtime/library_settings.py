"""What libraries find when they are imported in a component's process: threads, listeners, how names are looked up.

OpenBLAS, which numpy and scipy bring, starts a thread for each further processor when its library is loaded. That is
before the seal, where a process is one thread, so without a word to it `import numpy` would fail on every machine with
two processors. The threads of OpenMP begin when they are used, and take what the component has asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from tlsrt.loops.runtime.bound_listeners import BoundListeners, Inherited
from tlsrt.loops.runtime.resolver import prepare_outbound
from tlsrt.sandbox.profile.profile import Profile


def thread_environment(threads: int) -> Mapping[str, str]:
    """Return the variables for a process whose components have asked for so many threads. Pure."""
    return {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": str(max(threads, 1)),
        "TOKENIZERS_PARALLELISM": "true" if threads else "false",
    }


def prepare_libraries(profile: Profile, listeners: Sequence[Inherited]) -> None:
    """Set all of it, in the process and before the import of components."""
    if profile.has_sockets:
        prepare_outbound(profile.egress)
    os.environ.update(thread_environment(profile.threads))
    makes_sockets = bool(profile.network or profile.egress or profile.names) or not profile.is_watched
    BoundListeners(listeners, makes_sockets=makes_sockets).install()
