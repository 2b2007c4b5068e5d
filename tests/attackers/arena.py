"""The stage of the attack tests: a running host, captured loops in it, a victim, and one way to judge an attack.

The captured components speak to the tests over their own channels, and those are first in, first out: when the call
that sent an attack has returned, Primary has judged it; when the next call to the victim has returned, the victim
has judged what was let through. So nothing here waits for time to pass.

`Arena.refused` asserts all that must be true after an attack: nothing was executed, the reason is in the log of
whoever refused, the peer was told one generic word or nothing, an honest call is answered at once, and the refusals
in the status are exactly those that were provoked. A log takes five refusals a beat, so the arena waits for a beat
after every five.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hosts.primary_core import hosted_in_primary
from hosts.running_host import RunningHost

from tlsrt import Client
from tlsrt.channels.frames.frame import (
    FrameKind,
    Header,
    correlation,
    nonce,
    pack_frame,
    pack_header,
    parse_frame_untrusted,
    parse_header_untrusted,
    proof_data,
)
from tlsrt.config import key_schedule

PACKAGE = Path(__file__).parent / "captured_package" / "captured"
VICTIM, CONSOLE, THIEF, FOREIGN_CONSOLE, FOREIGN = (
    "secondary/counter", "third/captured", "third/thief", "external/captured", "external/thief",
)  # fmt: skip
IN_PRIMARY = "primary/captured"
ATTACKER = {"class": "captured.attacker:Captured", "process": "shared"}
COMPONENTS = {
    VICTIM: {"class": "captured.counter:Counter", "process": "shared"},
    **dict.fromkeys((CONSOLE, THIEF, FOREIGN_CONSOLE, FOREIGN, IN_PRIMARY), ATTACKER),
}
POLICY: dict[str, Any] = {
    **{f"client/admin -> {address}": "*" for address in COMPONENTS},
    "client/admin -> primary/events": ["recent"],
    f"{THIEF} -> {VICTIM}": ["add", "value", "hold"],
    f"{FOREIGN} -> {VICTIM}": ["value"],
    f"{THIEF} -> {FOREIGN}": ["poke"],
}
# One host bears many attacks here: what follows from them is judged in test_detection.py.
STAGE: dict[str, Any] = {
    "components": COMPONENTS, "policy": POLICY, "packages": [PACKAGE], "detection": {"mode": "observe"},
    "prelude": hosted_in_primary(IN_PRIMARY),
}  # fmt: skip
LOGS = ("authority", "primary", "secondary", "third", "external")
HONEST_S = 1.0  # an honest call takes about 1 ms; on a busy machine it may wait for its turn
LOGGED_PER_BEAT = 5


def request_body(*args: object) -> bytes:
    """Return the plaintext of a request."""
    packed: bytes = msgpack.packb([list(args), {}, None])
    return packed


def header_of(frame: bytes) -> Header:
    """Return the header of a frame."""
    return parse_header_untrusted(parse_frame_untrusted(frame).header)


def changed(header: Header, **changes: Any) -> Header:
    return header._replace(**changes)


class Attacker:
    """A captured process. `console` listens to the tests, `thief` is the idle component whose session it abuses."""

    def __init__(self, client: Client, console: str, thief: str) -> None:
        self._client = client
        self.console = console
        self.thief = thief
        self.learn()

    def learn(self) -> None:
        """Take down anew what the process holds."""
        self.loot: dict[str, Any] = self.do("loot")

    def do(self, method: str, *args: object, timeout_s: float = 30.0) -> Any:
        """Let the console do something."""
        return self._client.call(self.console, method, *args, timeout_s=timeout_s)

    # -- what it holds -----------------------------------------------------------------------------------------

    def session(self, subject: str = "") -> dict[str, Any]:
        """Return the newest keys of a session of the process."""
        newest: dict[str, Any] = self.loot["sessions"][subject or self.thief][-1]
        return newest

    def right(self, target: str, subject: str = "") -> dict[str, Any]:
        entry: dict[str, Any] = self.loot["rights"][subject or self.thief][target]
        return entry

    @property
    def token(self) -> bytes:
        token: bytes = self.session()["token"]
        return token

    # -- what it makes -----------------------------------------------------------------------------------------

    def genuine(self, target: str = VICTIM, method: str = "add", *args: object) -> bytes:
        """Return a request that the thief sealed and did not send."""
        frame: bytes = self.do(
            "seal", self.thief, target, method, request_body(*(args or ((1,) if method == "add" else ())))
        )
        return frame

    def header(self, target: str = VICTIM, method: str = "add", **changes: Any) -> Header:
        """Return the header of a request that would pass, with changes, and a sequence number of its own."""
        held, entry = self.session(), self.loot["rights"][self.thief].get(target, {"mailbox": 1})
        header = Header(
            1, FrameKind.REQUEST, held["session"], self.do("take_seq", self.thief), 0, self.thief, target,
            entry["mailbox"], held["gate"], method, held["epoch"], self.loot["now"] + 60_000, b"", 0,
        )  # fmt: skip
        return changed(header, **changes)

    def forge(
        self, header: Header, body: bytes = b"", *, token: bytes | None = None, body_key: bytes | None = None,
        proof_key: bytes | None = None,
    ) -> bytes:  # fmt: skip
        """Return a frame sealed by hand, with the thief's own token and keys unless others are given."""
        held = self.session()
        own = self.loot["rights"][self.thief].get(header.dst, {"key": bytes(32)})["key"]
        return seal(
            header, body, token=held["token"] if token is None else token,
            body_key=own if body_key is None else body_key,
            proof_key=held["proof_key"] if proof_key is None else proof_key,
        )  # fmt: skip

    def reply_key(self, header: Header, subject: str = "") -> bytes:
        """Return the key for an answer of ours to a request."""
        held = self.session(subject)
        return key_schedule.reply_key(key_schedule.request_key(held["mailbox_root"], header.session), held["session"])

    # -- what it does and sees ---------------------------------------------------------------------------------

    def send(self, *messages: bytes) -> None:
        """Put raw messages on the loop's wire; Primary has judged them when this returns."""
        self.do("transmit", list(messages))

    def heard(self) -> list[bytes]:
        """Return the frames that reached the thief since the last time; the console's own traffic is left out."""
        return [frame for frame in self.do("frames")["heard"] if header_of(frame).dst == self.thief]

    def refusals(self) -> list[str]:
        """Return the words of the gate's refusals among these frames."""
        return [
            parse_frame_untrusted(frame).body.decode()
            for frame in self.heard()
            if header_of(frame).kind == FrameKind.REFUSAL
        ]


def seal(header: Header, body: bytes, *, token: bytes, body_key: bytes, proof_key: bytes) -> bytes:
    """Return a frame sealed with these keys, whatever its header says."""
    packed, number = pack_header(header), nonce(max(header.seq, 0))
    sealed = AESGCM(body_key).encrypt(number, body, packed)
    proof = AESGCM(proof_key).encrypt(number, b"", proof_data(packed, token, sealed))
    return pack_frame(packed, token, sealed, proof)


class Arena:
    """The running host, its attackers, and the judge."""

    def __init__(self, host: RunningHost) -> None:
        self.host = host
        self.client = host.client()
        self.third = Attacker(self.client, CONSOLE, THIEF)
        self.external = Attacker(self.client, FOREIGN_CONSOLE, FOREIGN)
        self.total: int = self.client.call(VICTIM, "value")
        self.provoked: Counter[str] = Counter()
        self._logged: Counter[str] = Counter()
        self._marks: dict[str, int] = {}
        self.mark()

    def mark(self) -> None:
        """Begin a new attack: what logs and frames hold by now is history."""
        self._marks = {name: len(self.host.log(name)) for name in LOGS}
        self.third.heard()
        self.external.heard()

    def news(self, loop: str) -> str:
        """Return what a log has got since `mark`."""
        return self.host.log(loop)[self._marks[loop] :]

    def unharmed(self) -> None:
        """Assert that nothing was executed, and that the host answers at once."""
        start = time.monotonic()
        assert self.client.call(VICTIM, "value") == self.total, "the attack was executed"
        assert time.monotonic() - start < HONEST_S

    def refused(self, *reasons: str, by: str = "primary", told: Sequence[str] | None = None) -> None:
        """Assert that exactly these refusals happened, in order, and what the attacker in third was told."""
        self.unharmed()
        found = [
            line.partition("refused a frame: ")[2].partition(" from ")[0]
            for line in self.news(by).splitlines()
            if "refused a frame: " in line
        ]
        self.provoked[by] += len(reasons)
        self._logged[by] += len(reasons)
        if self._logged[by] >= LOGGED_PER_BEAT:
            self.settle()
        assert found == list(reasons), f"{by} refused {found}, not {list(reasons)}"
        if told is not None:
            assert self.third.refusals() == list(told)
        self.mark()

    def turned_away(self, *reasons: str) -> None:
        """Assert that the door turned connections away for exactly these reasons, and that nothing else happened."""
        self.unharmed()
        found = [line.partition("door: ")[2].partition(" from ")[0] for line in self.news("primary").splitlines()]
        self._logged["primary"] += len(reasons)
        found = [reason for reason in found if reason]
        assert found == list(reasons), f"the door turned away for {found}, not for {list(reasons)}"
        self.refused()

    def room(self, count: int) -> None:
        """Say before an attack that it will be refused so many times, so that the log of this beat takes them all."""
        if any(logged + count > LOGGED_PER_BEAT for logged in self._logged.values()):
            self.settle()

    @staticmethod
    def _carried(document: dict[str, Any]) -> int:
        """How many frames Primary has carried; changes with its beat if there was any."""
        return sum(loop["frames"]["in"] for loop in document["loops"] if loop["name"] == "primary")

    def settle(self) -> None:
        """Wait for the beat with which the status shows exactly what was provoked, neither more nor less."""

        def shown(document: dict[str, Any]) -> dict[str, int]:
            return {loop["name"]: loop["frames"]["refused"] for loop in document["loops"]}

        self.host.until(
            lambda document: all(shown(document)[loop] >= count for loop, count in self.provoked.items()),
            f"{dict(self.provoked)} refused frames",
        )
        before = self._carried(self.host.status())
        self.unharmed()
        self.host.until(lambda document: self._carried(document) > before, "the next beat")
        counts = shown(self.host.status())
        assert {loop: counts[loop] for loop in self.provoked} == dict(self.provoked)
        self._logged.clear()


def answer_to(frame: bytes) -> bytes:
    """Return the correlation of answers to a request."""
    header = header_of(frame)
    return correlation(header.session, header.seq)
