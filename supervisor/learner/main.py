"""The learner process: learns what subjects usually do from numbers that it is told, and says what is unlike it.

It has a uid of its own, no key, capability, file or network, and knows subjects by ids without a name. What it says
is judged by the supervisor and the authority: a captured one can at worst have a few sessions limited, or say nothing.
"""

from __future__ import annotations

import select

from tlsrt.channels.control.learner import LEARNER, Advice, AdviceMessage, WeighMessage, pack_advice
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.control.telemetry import parse_rows_untrusted
from tlsrt.supervisor.learner.anomaly_model import AnomalyModel
from tlsrt.supervisor.process.service_main import run_service


def weighed(model: AnomalyModel, message: WeighMessage) -> AdviceMessage:
    """Have a model weigh and learn the rows of a question; return the answer."""
    known = 0
    unusual: list[Advice] = []
    for at, (subject, window) in enumerate(parse_rows_untrusted(message.rows)):
        kind = "client" if at < message.clients else "component"
        opinion = model.observe(subject.hex(), kind, window, message.now)
        known += opinion.warmth == 1
        if opinion.is_unusual:
            unusual.append(Advice(at, int(opinion.bits * 1000), opinion.reasons))
    return AdviceMessage(message.number, known, pack_advice(unusual))


def serve(channel: int) -> int:
    """Answer until the supervisor closes the channel, which raises PeerError."""
    supervisor = ControlChannel(channel, LEARNER)
    supervisor.send("sealed")
    waiting = select.poll()
    waiting.register(supervisor.fileno(), select.POLLIN)
    model = AnomalyModel()
    while True:
        waiting.poll()
        received = supervisor.receive("supervisor", "sealed")
        if received is not None:
            supervisor.send("advice", *weighed(model, received[1]))


def learner_main(channel: int) -> int:
    """Run the body of the forked, confined process; return its exit code. `channel` is owned from here on."""
    return run_service("learner", lambda: serve(channel))
