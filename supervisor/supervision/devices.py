"""Devices of processes: looked up here, opened and set by the helper, and handed over on the life channel.

A process gets its devices when it is attested, and again when they come back after they were unplugged: it says which
of them it has lost. What is not there is looked for when something appears in its folder, and now and then; to look
runs no driver, and nothing here waits.
"""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import dataclass
from enum import StrEnum

from tlsrt.channels.control.life import LoopState
from tlsrt.config.devices import DeviceConfig, TtyConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.folder_watch import FolderWatch, nearest_folder
from tlsrt.supervisor.process.host_paths import Found, find_device
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.helper_process import AWAY, GONE, HUNG, HelperProcess
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import LoopEvent

SOON_S = 0.005  # from what appears in a folder to a look there: more may come at once
HINTED_S = 0.05  # at least, from one such look to the next: any user of the host can touch /dev/null
LOOK_S = 0.25  # from one look for what is not there to the next
LONGEST_S = 8.0  # the same for what is there and cannot be opened, or is lost again and again
HUNG_S = 20.0  # the same, and doubled each time, for what the helper did not come back from: all others wait meanwhile
HUNG_LONGEST_S = 3600.0
STEADY_S = 5.0  # a device that was there for so long may come again at once
_PARITY = {"none": 0, "odd": 1, "even": 2}
_FLOW = {"none": 0, "rts_cts": 1, "xon_xoff": 2}


class DeviceState(StrEnum):
    """Where a device of a process is."""

    ABSENT = "absent"
    OPENING = "opening"
    PRESENT = "present"


@dataclass(slots=True)
class _Place:
    """One device of one incarnation of a process."""

    loop: Loop
    incarnation: int
    grant: int
    config: DeviceConfig
    component: str
    state: DeviceState = DeviceState.ABSENT
    why: str = ""  # it is absent
    next_at: float = 0.0
    delay_s: float = LOOK_S
    since: float = 0.0


class Devices(Feature):
    """All devices of all processes."""

    def __init__(self, context: Context, loops: Loops, helper: HelperProcess) -> None:
        self._context = context
        self._loops = loops
        self._helper = helper
        self._places: dict[tuple[str, int], _Place] = {}
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._hinted_at = 0.0  # the last or next look for what appeared
        self._is_stopping = False
        self._folders = FolderWatch(context.event_loop, self._appeared)
        helper.on_ready.append(self._look)

    def stopping(self) -> None:
        self._is_stopping = True
        self._folders.close()
        if self._timer is not None:
            self._timer.cancel()

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        if event is LoopEvent.ATTESTED:
            for grant, (component, device) in enumerate(self._context.current.config.devices_of(loop.name)):
                place = _Place(loop, loop.incarnation, grant, device, component.address)
                self._places[loop.name, grant] = place
                self._later(0.0)
        elif not loop.is_living:
            for key in [key for key, place in self._places.items() if place.loop is loop]:
                del self._places[key]

    def lost_untrusted(self, loop: Loop, grant: int) -> None:
        """Take note that a process has lost a device; raises PeerError for one that it has not."""
        place = self._places.get((loop.name, grant))
        if place is None:
            raise PeerError("no_such_device")
        if place.state is not DeviceState.PRESENT:
            return
        now = self._context.event_loop.now
        was_steady = now - place.since >= STEADY_S
        self._absent(place, "it was unplugged", LOOK_S if was_steady else min(2 * place.delay_s, LONGEST_S))
        self._watch()

    def document(self, loop: Loop) -> list[dict[str, object]]:
        """Return what status says of the devices of a process."""
        places = [place for place in self._places.values() if place.loop is loop]
        return [
            {"component": one.component, "name": one.config.name, "path": one.config.path, "state": str(one.state),
             "why": one.why}
            for one in places
        ]  # fmt: skip

    # Looking

    def _later(self, delay_s: float) -> None:
        """Look in so long, or sooner if that was to be."""
        at = self._context.event_loop.now + delay_s
        if self._is_stopping or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self._context.event_loop.call_later(delay_s, self._look), at

    def _look(self) -> None:
        """Look for what is absent and due, and set the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()  # it may be the helper that calls
            self._timer = None
        now = self._context.event_loop.now
        self._folders.arm()
        if not self._helper.is_attested:
            return  # it calls when it is there
        for place in self._wanted():
            if place.next_at <= now:
                self._find(place)
        if self._watch():
            self._appeared()  # perhaps it came before we watched
        due = [place.next_at for place in self._wanted()]
        if due:
            self._later(max(0.01, min(due) - now))

    def _watch(self) -> bool:
        """Watch the folders of what is absent; tell whether there are other ones now."""
        if self._is_stopping:
            return False
        return self._folders.watch(nearest_folder(place.config.path) for place in self._wanted())

    def _appeared(self) -> None:
        """Look soon for what was not there; what could not be opened has its own time."""
        now = self._context.event_loop.now
        if self._hinted_at <= now:
            self._hinted_at = max(now + SOON_S, self._hinted_at + HINTED_S)
        for place in self._wanted():
            if place.delay_s == LOOK_S:
                place.next_at = min(place.next_at, self._hinted_at)
        self._later(self._hinted_at - now)

    def _wanted(self) -> list[_Place]:
        """Return what is absent, of processes that may get it."""
        return [one for one in self._places.values() if one.state is DeviceState.ABSENT and one.loop.is_trusted]

    def _find(self, place: _Place) -> None:
        try:
            found = find_device(place.config.path, hears=bool(place.config.input))
        except OSError as error:
            self._absent(place, error.strerror or str(error), LOOK_S)
            return
        place.state = DeviceState.OPENING
        try:
            config = place.config
            how = (int(config.writes), int(config.input == "grabbed"), int(config.is_tty))
            fields = (*how, *_line(config.tty))
            self._helper.open(found.descriptor, fields, lambda error, device: self._opened(place, found, error, device))
        finally:
            os.close(found.descriptor)

    def _opened(self, place: _Place, found: Found, error: int, device: int) -> None:
        try:
            is_same = place.loop.incarnation == place.incarnation and place.loop.is_trusted
            if error in (AWAY, GONE):
                self._absent(place, "the helper has ended", place.delay_s, LOOK_S)  # this device has no part in that
            elif error == HUNG:
                delay_s = min(max(2 * place.delay_s, HUNG_S), HUNG_LONGEST_S)
                self._absent(place, "its driver held the helper up", delay_s)
            elif error:
                self._absent(place, f"cannot open it: {os.strerror(error)}", min(2 * place.delay_s, LONGEST_S))
            elif not _is_what_was_asked(device, found.device, place.config):
                self._helper.kill("opened another device than it was asked for")
                self._absent(place, "the helper opened another one", LONGEST_S)
            elif is_same:
                place.state, place.why, place.since = DeviceState.PRESENT, "", self._context.event_loop.now
                self._loops.tell(place.loop, "device", place.grant, descriptors=(device,))
        finally:
            if device >= 0:
                self._helper.put_away(device)

    def _absent(self, place: _Place, why: str, delay_s: float, next_s: float | None = None) -> None:
        next_s = delay_s if next_s is None else next_s
        place.state, place.why, place.delay_s = DeviceState.ABSENT, why, delay_s
        place.next_at = self._context.event_loop.now + next_s
        if self._places.get((place.loop.name, place.grant)) is place:
            self._later(next_s)


def _line(tty: TtyConfig) -> tuple[int, ...]:
    return (max(0, tty.baud), int(tty.raw), tty.bits, _PARITY[tty.parity], tty.stop_bits, _FLOW[tty.flow])


def _is_what_was_asked(device: int, number: int, config: DeviceConfig) -> bool:
    """Say whether a descriptor is the device that was looked up, opened for what is granted."""
    status = os.fstat(device)
    access = fcntl.fcntl(device, fcntl.F_GETFL) & os.O_ACCMODE
    wanted = os.O_RDWR if config.writes else os.O_RDONLY
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == number and access == wanted
