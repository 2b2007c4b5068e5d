"""Upgrades of the host's packages: what apt would do, as a plan; and having exactly that done.

apt runs here as an approved program that sees packages and lists read-only and can change nothing. What is to be done
is an order, a file with the id of a plan, which a unit of systemd outside of the host carries out as root, after it
has simulated the same again (`tlsrt-supervisor apt-order`). So this process needs no right over packages.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from tlsrt import (
    Busy,
    Component,
    Conflict,
    DiskThread,
    DiskWork,
    EachAlone,
    Failed,
    Pattern,
    ProgramError,
    Range,
    Unavailable,
    handler,
)
from tlsrt.apt_plan import PLAN_ID, SIMULATE, UPGRADE, Plan, PlanError, plan_untrusted

Result = TypeVar("Result")
PlanId = Annotated[str, Pattern(PLAN_ID, "the id that `plan` gives: 64 hexadecimal digits")]
_STATE_BYTES = 4096
_CHUNK = 32 * 1024
_TAKEN_S = 10.0  # within which the unit begins
_LOOK_S = 0.2
_LOST_S = 7_500  # the unit ends after two hours
_LOST = "it was interrupted: run `dpkg --configure -a` on the host, then make a new plan"
_UNIT = "enable it with `systemctl enable --now tlsrt-updates.path`, or carry out the order with `apt-order`"
_DECODER = codecs.getincrementaldecoder("utf-8")
_KERNEL = re.compile(r"Package: linux-image-(\d[^\n]*)\n(?:[^\n]+\n)*?Status: install ok installed\n")


class Updates(Component):
    """Upgrades of packages by apt: pending ones, a plan with an id, and its application."""

    class Options:
        """Options of the updates service."""

        orders: Annotated[Path | None, "The folder for orders (`needs: write`); without it nothing can be applied."] = (
            None
        )
        results: Annotated[Path | None, "The folder of root with what came of them (`needs: read`)."] = None
        lists: Annotated[Path, "Where apt keeps its lists."] = Path("/var/lib/apt/lists")
        status: Annotated[Path, "The file in which dpkg has what is installed."] = Path("/var/lib/dpkg/status")
        old_after_s: Annotated[int, Range(60, 366 * 86_400), "Lists that are older are a warning."] = 7 * 86_400

        def __post_init__(self) -> None:
            if (self.orders is None) != (self.results is None):
                raise ValueError("orders and results belong together: name both folders, or none")

    def __init__(self) -> None:
        self._disk = DiskThread("updates-disk", EachAlone())
        self.disk_threads = (self._disk,)

    async def start(self) -> None:
        self._ordering = asyncio.Lock()
        self._results: Path = self.options.results or Path("/nonexistent")

    async def stop(self) -> None:
        self._disk.close()

    async def _on_disk(self, work: Callable[[], Result]) -> Result:
        return await self._disk.run("", DiskWork(work))

    # -- what there is ----------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """How many upgrades are pending, how many of them for security, age of the lists, and whether to reboot."""
        plan = await self._simulated()
        lists, reboot = await self._on_disk(self._lists_age_s), await self._on_disk(self._reboot)
        self.gauge("pending", len(plan.steps))
        self.gauge("security", sum(one.is_security for one in plan.steps))
        return {
            "pending": len(plan.steps), "security": sum(one.is_security for one in plan.steps), "lists_age_s": lists,
            "lists_are_old": None if lists is None else lists > self.options.old_after_s, "reboot": reboot,
            "can_apply": self.options.orders is not None,
        }  # fmt: skip

    @handler(idempotent=True)
    async def plan(self) -> dict[str, Any]:
        """What apt would install now, package by package, and an id that binds exactly this list. Changes nothing."""
        plan = await self._simulated()
        steps = [
            {
                "name": one.name, "architecture": one.architecture, "installed": one.old, "version": one.new,
                "security": one.is_security, "origins": one.origins,
            }
            for one in plan.steps
        ]  # fmt: skip
        return {"id": plan.id, "steps": steps}

    async def _simulated(self) -> Plan:
        try:
            done = await self.run("apt", *SIMULATE, *UPGRADE)
        except ProgramError as error:
            raise Unavailable(f"apt cannot be asked: {error}") from None
        if done.status:
            last = next((line for line in done.stderr.splitlines() if line.startswith("E:")), "it says nothing")
            raise Failed(f"apt cannot say what it would do: {last[:300]}")
        try:
            return plan_untrusted(done.stdout.decode("utf-8", "replace"))
        except PlanError as error:
            raise Failed(str(error)) from None

    def _lists_age_s(self) -> float | None:
        lists: Path = self.options.lists
        with suppress(OSError):
            if not any("Release" in name or "_Packages" in name for name in os.listdir(lists)):
                return None
            # A list has the time of its archive; the folders have the time of the last look, also of one without news.
            looked = [path.stat().st_mtime for path in (lists, lists / "partial") if path.is_dir()]
            return max(0.0, round(time.time() - max(looked), 1))
        return None

    def _reboot(self) -> dict[str, Any]:
        """Compare the kernel that runs with those that are installed; null where none of them is a package."""
        running = os.uname().release
        with suppress(OSError):
            text = self.options.status.read_text("utf-8", "replace")
            newest = max(_KERNEL.findall(text), key=_version_key, default=None)
            if newest is not None:
                is_known = any(running == one for one in _KERNEL.findall(text))
                return {"required": newest != running if is_known else None, "running": running, "newest": newest}
        return {"required": None, "running": running, "newest": None}

    # -- orders -----------------------------------------------------------------------------------------------

    @handler
    async def apply(self, plan: PlanId) -> dict[str, Any]:
        """Have exactly this plan done; error `conflict` if apt would do anything else now. It goes on without you.

        `progress` shows what is said meanwhile, and what came of it. Nothing is removed; edited files are kept.
        """
        now = await self._simulated()
        if now.id != plan:
            raise Conflict("apt would do something else now than this plan says: make a new plan, and look at it")
        if not now.steps:
            raise Conflict("this plan is empty: there is nothing to upgrade")
        return await self._order(f"apply {plan}")

    @handler
    async def refresh(self) -> dict[str, Any]:
        """Have apt ask the archives for new lists; it goes on without you, see `progress`."""
        return await self._order("refresh")

    async def _order(self, words: str) -> dict[str, Any]:
        orders = self.options.orders
        if orders is None:
            raise Unavailable(f"{self.address} can only look: name the folders orders and results in its options")
        if self._ordering.locked():
            raise Busy("another order is being given: try again when it has begun")
        async with self._ordering:
            state = await self._on_disk(self._state)
            if state is not None and _is_running(state):
                raise Busy(
                    f"{str(state.get('order'))[:8]} is going on: `progress` shows it, try again when it has ended"
                )
            began = time.time_ns() // 1_000_000
            try:
                await self._on_disk(partial(_put_order, orders, words))
            except OSError as error:
                raise Unavailable(
                    f"cannot give an order in {orders}: {error.strerror}; let the component's user in"
                ) from None
            self.log.warning("%s has ordered: %s", self.caller, words)
            self.alert("applying")
            self.publish("ordered", {"order": words, "by": self.caller})
            end = time.monotonic() + _TAKEN_S
            while time.monotonic() < end:
                state = await self._on_disk(self._state)
                if state and state.get("order") == words and int(state.get("began_wall_ms") or 0) >= began:
                    self.count("orders")
                    return state
                await asyncio.sleep(_LOOK_S)
            await self._on_disk(partial(_take_back, orders))
            raise Unavailable(f"nothing has taken the order within {_TAKEN_S:g} s, so it was taken back: {_UNIT}")

    @handler(idempotent=True)
    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """The last order: what apt says, as it comes, and last its state: done or failed, with a sentence."""
        if self.options.results is None:
            raise Unavailable(f"{self.address} can only look: name the folders orders and results in its options")
        at, began, decoder = 0, None, _DECODER("replace")
        while True:
            state = await self._on_disk(self._state)
            if state is None:
                raise Failed("no order was given yet")
            if state.get("began_wall_ms") != began:  # another one: its log begins anew
                at, began, decoder = 0, state.get("began_wall_ms"), _DECODER("replace")
            while text := await self._on_disk(partial(self._said, at)):
                at += len(text)
                if said := decoder.decode(text):  # a character may be cut in two
                    yield {"said": said}
            if not _is_running(state):
                is_lost = state.get("state") == "running"
                yield {**state, "state": "failed", "message": _LOST} if is_lost else state
                return
            await asyncio.sleep(_LOOK_S)

    def _state(self) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            found = json.loads(_read(self._results / "state.json", 0, _STATE_BYTES))
            return found if isinstance(found, dict) else None
        return None

    def _said(self, at: int) -> bytes:
        with suppress(OSError):
            return _read(self._results / "log", at, _CHUNK)
        return b""

    async def healthy(self) -> str | None:
        age = await self._on_disk(self._lists_age_s)
        if age is not None and age > self.options.old_after_s:
            return f"the lists of apt are {age / 86_400:.0f} days old: refresh them"
        return None


def _is_running(state: dict[str, Any]) -> bool:
    """Tell whether an order goes on; one of before this boot, or older than its unit may get, was lost."""
    if state.get("state") != "running":
        return False
    age_s = time.time() - int(state.get("began_wall_ms") or 0) / 1000
    return age_s < min(_LOST_S, time.clock_gettime(time.CLOCK_BOOTTIME))


def _put_order(orders: Path, words: str) -> None:
    beside = orders / "order.new"
    with suppress(FileNotFoundError):
        beside.unlink()
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as out:
        out.write(words + "\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(beside, orders / "order")


def _take_back(orders: Path) -> None:
    with suppress(OSError):
        (orders / "order").unlink()


def _read(path: Path, at: int, most: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("no file")
        file.seek(at)
        return file.read(most) or b""


def _version_key(release: str) -> list[tuple[int, str]]:
    return [(int(digits or 0), other) for digits, other in re.findall(r"(\d*)(\D*)", release)]
