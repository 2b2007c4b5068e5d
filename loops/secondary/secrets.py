"""The secrets service: sealed values for components and clients, with versions, leases and a record of who has read.

It runs in a process of its own, which alone has the root (sealing.py). All that is written is one transaction in the
database's thread (secret_tables.py); this tells it to who watches, and looks after time: ends of leases and of grace,
keys that are being replaced, and the count that the store keeps as a witness.

A value comes as an upload and in no argument. So it is in no command line, and no job can hold it.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import field
from typing import Annotated, Any, Literal

import tlsrt.loops.secondary.secret_leases as secret_leases
from tlsrt import (
    CallError,
    Component,
    ConfigError,
    Failed,
    InvalidArgument,
    Length,
    NotFound,
    Range,
    database,
    every,
    handler,
    peer,
)
from tlsrt.loops.secondary.namespaces import RIGHTS, Namespace, Namespaces, Quota, Space, check_named
from tlsrt.loops.secondary.passwords import PATTERN_MOST, make_password
from tlsrt.loops.secondary.sealing import KEY_BYTES, HiddenBytes
from tlsrt.loops.secondary.secret_schema import NO_LEASE, STEPS, VALUE_BYTES, Bounds, Lease, SecretChange
from tlsrt.loops.secondary.secret_tables import SecretTables
from tlsrt.loops.secondary.secret_witness import SecretWitness, WitnessStore
from tlsrt.loops.secondary.secret_work import SecretWork

_MIB = 1 << 20
_DAY_S = 86_400.0
_PAGE = 256
Name = Annotated[str, Length(256, 1)]
Prefix = Annotated[str, Length(256)]
Version = Annotated[int, Range(1)]
IfVersion = Annotated[int, Range(0)] | None
Grace = Annotated[float, Range(0, 366 * _DAY_S)]
LeaseTime = Annotated[float, Range(1, 31 * _DAY_S)]
Limit = Annotated[int, Range(1, 500)]
LeaseId = Annotated[str, Length(24, 24)]


class Secrets(Component):
    """Passwords and keys, sealed. Each caller has a namespace of its own; others are open to whom the operator names.

    What was acknowledged survives a crash of the service and of the host.
    """

    class Options:
        """Options of the secrets service."""

        namespaces: Annotated[
            dict[str, Namespace], Length(256), "Who else may use a namespace, and how much it may hold."
        ] = field(default_factory=dict)
        namespace_bytes: Annotated[int, Range(0, 1 << 30), "Bytes of the values in each namespace."] = _MIB
        namespace_keys: Annotated[int, Range(0, 100_000), "Names in each namespace."] = 1000
        max_bytes: Annotated[int, Range(_MIB // 16, 1 << 30), "Bytes of all values."] = 32 * _MIB
        reads: Annotated[int, Range(0, 1_000_000), "Records of who has read what that are kept."] = 10_000
        witness: Annotated[bool, "Keep a count of changes in secondary/store, to notice an older copy."] = True

        def __post_init__(self) -> None:
            check_named(self.namespaces)

    db = database(steps=STEPS)
    store = peer("secondary/store", WitnessStore, wait_s=1.0, timeout_s=5.0)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    def warm_up(self) -> None:
        """Have the library load what it loads when it is used first."""
        tables = SecretTables(bytes(KEY_BYTES), Bounds(0, 0), os.urandom)
        assert tables.log.damaged == {}
        make_password("*{24}", secrets.choice)

    async def start(self) -> None:
        root = self.secret("root")
        if len(root) != KEY_BYTES:
            raise ConfigError(
                f"the root of {self.address} has {len(root)} bytes and must have {KEY_BYTES} random ones: make it by "
                f"`tlsrt-supervisor secret make {self.address} root`"
            )
        options = self.options
        self._spaces = Namespaces(
            self.address, options.namespaces, Quota(options.namespace_bytes, options.namespace_keys)
        )
        self._tables = SecretTables(root, Bounds(options.max_bytes, options.reads), os.urandom)
        self._witness = SecretWitness(root, self.address, self.store, self.log)
        self._work = SecretWork(self.db, self._tables, self._witness, self.count, self.log)
        try:
            await self._work.begin()
        except CallError as error:  # the disk; each call tries again
            self.log.warning("%s", error.message)
        if trouble := self._work.wrong():
            self.log.warning("%s", trouble)
        self.spawn(self._work.reseal)

    async def stop(self) -> None:
        self._work.is_stopping = True
        self._work.close_streams()

    # -- changes ----------------------------------------------------------------------------------------------

    @handler
    async def put(
        self, name: Name, *, kind: Literal["text", "bytes"] = "text", if_version: IfVersion = None,
        grace_s: Grace = 0.0, namespace: Space = None, data: AsyncIterator[bytes],
    ) -> dict[str, Any]:  # fmt: skip
        """Keep what is sent (at most 64 KiB) as the present version of a name; returns its number.

        The version before opens for `grace_s` seconds more. With `if_version` only if that is the present version (0:
        only if there is none), else error `conflict`. Of text one newline at its end is left out.
        """
        where = self._spaces.open(self.caller, namespace, "write"), _printable("name", name)
        value = await _received(data, is_text=kind == "text")
        return await self._put(where, value, kind == "text", if_version, grace_s, "put")

    @handler
    async def rotate(
        self, name: Name, random_bytes: Annotated[int, Range(16, VALUE_BYTES)] | None = None,
        password: Annotated[str, Length(PATTERN_MOST, 1)] | None = None, if_version: IfVersion = None,
        grace_s: Grace = 0.0, namespace: Space = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Make a new value and keep it as `put` does; only who reads it sees it.

        Either so many random bytes, or a password of a pattern: `A` capital, `a` small, `9` digit, `*` any of these,
        `!` a mark, `{n}` repeats, others stand for themselves: `*{24}`. It must have at least 64 bits.
        """
        where = self._spaces.open(self.caller, namespace, "write"), _printable("name", name)
        if (random_bytes is None) == (password is None):
            raise InvalidArgument("give either random_bytes or password; a value of your own comes by `put`")
        made = os.urandom(random_bytes or 0) if password is None else make_password(password, secrets.choice).encode()
        return await self._put(where, HiddenBytes(made), password is not None, if_version, grace_s, "rotate")

    async def _put(
        self, where: tuple[str, str], value: HiddenBytes, is_text: bool, if_version: int | None, grace_s: float,
        operation: str,
    ) -> dict[str, Any]:  # fmt: skip
        now = self.wall_ms()
        outcome = await self._work.change(
            self._tables.put, where, value, is_text=is_text, if_version=if_version, grace_ms=int(grace_s * 1000),
            writer=self.caller, quota=self._spaces.quota(where[0]), now_ms=now, operation=operation,
        )  # fmt: skip
        opens = now / 1000 + grace_s if outcome.before and grace_s else None
        return {"version": outcome.version, "before": outcome.before or None, "before_opens_until": opens}

    @handler
    async def delete(self, name: Name, if_version: IfVersion = None, namespace: Space = None) -> dict[str, int]:
        """Remove a name with all its versions, under the same condition as `put`; returns the last version."""
        where = self._spaces.open(self.caller, namespace, "write"), _printable("name", name)
        outcome = await self._work.change(self._tables.delete, where, if_version, self.wall_ms())
        return {"before": outcome.before}

    @handler
    async def destroy(self, name: Name, version: Version, namespace: Space = None) -> dict[str, int]:
        """Erase the value of one version for good; of the present one too, which leaves the name without a value."""
        where = self._spaces.open(self.caller, namespace, "write"), _printable("name", name)
        outcome = await self._work.change(self._tables.destroy, where, version, self.wall_ms())
        return {"version": outcome.version}

    @handler
    async def rotate_key(self, namespace: Space = None) -> dict[str, int]:
        """Seal a namespace by a new data key; what is there follows in pieces (`to_reseal` of `namespaces`)."""
        space = self._spaces.open(self.caller, namespace, "write")
        number, left = await self._work.run(self._replace_key, space)
        self._work.to_reseal.set()
        self.count("rotate_key")
        return {"key": number, "to_reseal": left}

    def _replace_key(self, transaction: Any, space: str) -> tuple[int, int]:
        if not transaction.read("SELECT 1 FROM namespaces WHERE namespace = ?", space):
            raise Failed(f"there is nothing in namespace {space!r}, so it has no key yet")
        return self._tables.keys.replace(transaction, space), self._tables.keys.left(transaction, space)

    # -- reads ------------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def get(
        self, name: Name, version: Version | None = None, lease_s: LeaseTime = 3600.0, namespace: Space = None
    ) -> dict[str, Any]:
        """The value of a name, the present one or a version that still opens, with a lease until `ends_at`.

        That you have read it is on the disk before you get it. Error `not_found` if there is none, or it is over.
        """
        where = self._spaces.open(self.caller, namespace, "read"), _printable("name", name)
        now = self.wall_ms()
        value, is_text, present, lease = await self._work.run(
            self._tables.get, where, version, self.caller, int(lease_s * 1000), now
        )
        self._work.expect_end(lease.ends_ms)
        self.count("get")
        return {
            "value": bytes.decode(value) if is_text else bytes(value), "version": lease.version, "present": present,
            "lease": lease.lease, "ends_at": lease.ends_ms / 1000, "ends_in_s": (lease.ends_ms - now) / 1000,
        }  # fmt: skip

    @handler(idempotent=True)
    async def names(
        self, prefix: Prefix = "", after: Prefix = "", limit: Limit = 500, namespace: Space = None
    ) -> list[dict[str, Any]]:
        """Names that start with `prefix`, sorted, with their present version (0: destroyed). Never a value."""
        space = self._spaces.open(self.caller, namespace, "read")
        texts = _printable("prefix", prefix), _printable("after", after)
        found: list[dict[str, Any]] = await self._work.read(self._tables.names, space, *texts, limit)
        return found

    @handler(idempotent=True)
    async def history(self, name: Name, namespace: Space = None) -> list[dict[str, Any]]:
        """The last 20 versions of a name, the latest first: bytes, who put it and when, and its state."""
        where = self._spaces.open(self.caller, namespace, "read"), _printable("name", name)
        found: list[dict[str, Any]] = await self._work.read(self._tables.history, where, self.wall_ms())
        return found

    @handler(idempotent=True)
    async def readers(self, name: Name, limit: Limit = 100, namespace: Space = None) -> list[dict[str, Any]]:
        """Who has read a secret, which version and when, the latest first; for who may write it."""
        where = self._spaces.open(self.caller, namespace, "write"), _printable("name", name)
        found: list[dict[str, Any]] = await self._work.read(secret_leases.reads, where, limit)
        return found

    @handler(idempotent=True)
    async def namespaces(self) -> list[dict[str, Any]]:
        """The namespaces in which you may do anything: names, bytes, bounds, key, and values of an older key."""
        found = []
        for row in await self._work.read(self._tables.namespaces):
            rights = [each for each in RIGHTS if self._spaces.allows(self.caller, row["namespace"], each)]
            quota = self._spaces.quota(row["namespace"])
            if rights:
                found.append({**row, "rights": rights, "max_names": quota.max_keys, "max_bytes": quota.max_bytes})
        return found

    # -- leases -----------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def leases(
        self, name: Name | None = None, after: Prefix = "", limit: Limit = 500, namespace: Space = None
    ) -> list[dict[str, Any]]:
        """Leases that have not ended: your own, and those of all readers where you may write."""
        space = self.caller if namespace is None else namespace
        is_all = self._spaces.allows(self.caller, space, "write")
        if not is_all:
            self._spaces.open(self.caller, space, "read")
        reader = None if is_all else self.caller
        found = await self._work.read(secret_leases.held, space, reader, name, after, limit)
        return [lease.told() for lease in found]

    @handler(idempotent=True)
    async def renew(self, lease: LeaseId, lease_s: LeaseTime = 3600.0) -> dict[str, Any]:
        """Make a lease of yours last so long from now, up to the end of its version; `not_found` if it has ended."""
        now = self.wall_ms()
        known: Lease = await self._work.read(secret_leases.find, lease)
        if not self._spaces.allows(self.caller, known.namespace, "read"):  # the operator may have taken the right away
            raise NotFound(NO_LEASE)
        found: Lease = await self._work.run(self._tables.renew, lease, self.caller, int(lease_s * 1000), now)
        self._work.expect_end(found.ends_ms)
        return {**found.told(), "ends_in_s": (found.ends_ms - now) / 1000}

    @handler
    async def revoke(self, lease: LeaseId) -> dict[str, Any]:
        """End a lease before its time, and tell its holder: your own, or one of a namespace that you may write."""
        found: Lease = await self._work.run(self._revoke, lease, self.caller)
        self._work.tell_holder(found, "revoked")
        self.count("revoke")
        return found.told()

    def _revoke(self, transaction: Any, lease: str, caller: str) -> Lease:
        found = secret_leases.find(transaction, lease)
        if caller != found.reader and not self._spaces.allows(caller, found.namespace, "write"):
            raise NotFound(NO_LEASE)
        return secret_leases.revoke(transaction, lease)

    @handler
    async def held(self) -> AsyncIterator[dict[str, Any]]:
        """What befalls your leases: first {"why": "listening"}, then each lease with `why`.

        `rotated`: there is a newer version, and yours opens until `ends_at`; `replaced`, `destroyed`, `deleted`,
        `revoked` and `ended`: it has ended now. Read the secret again. When the stream breaks, do so too.
        """
        subscription = self._work.holders.subscribe(self.caller)
        try:
            yield {"why": "listening"}
            async for told in subscription:
                yield told
        finally:
            subscription.close()
        self._end_of_stream("read again what you hold")

    @handler
    async def watch(
        self, since: Annotated[int, Range(0)] | None = None, namespace: Space = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Every change of a namespace: operation, name, version, revision; from now on, or of all behind `since`.

        Operations: put, rotate, delete, destroy, and close (the grace of a version is over). Error `conflict` if not
        all changes behind `since` are kept any more.
        """
        space, last = self._spaces.open(self.caller, namespace, "read"), since
        subscription = self._work.watchers.subscribe(
            space
        )  # before what is kept is read, so that nothing falls between
        try:
            while last is not None:
                page: list[SecretChange] = await self._work.read(self._tables.log.changes, last, _PAGE)
                for change in page:
                    last = change.revision
                    if change.namespace == space:
                        yield change.told()
                if len(page) < _PAGE:
                    break
            async for change in subscription:
                if change.revision > (last or 0):
                    yield change.told()
        finally:
            subscription.close()
        self._end_of_stream("watch since the last revision you have")

    def _end_of_stream(self, advice: str) -> None:
        if not self._work.is_stopping:
            raise Failed(f"something may have happened that is not told here; {advice}")

    # -- time, the witness and health -------------------------------------------------------------------------

    def until_witness_s(self) -> float:
        """Return in how many seconds there is something to keep in the store; never, while nothing changes."""
        return self._witness.until_look_s() if self.options.witness and self._work.is_begun else math.inf

    @every("1s", idle_s=lambda self: self._work.until_end_s(self.wall_ms()))
    async def look_for_ends(self) -> None:
        """End leases, and versions whose grace has passed."""
        await self._work.end_late(self.wall_ms)

    @every("1s", idle_s=until_witness_s)
    async def look_at_witness(self) -> None:
        """Keep the count of changes in the store; at first, see whether it is higher than ours."""
        if await self._witness.look(self._revision):
            self.log.warning("%s", self._witness.rolled_back)
            self.alert("rolled_back")

    async def _revision(self) -> int:
        return int(await self._work.read(self._tables.log.revision))

    @handler
    async def accept(self) -> dict[str, int]:
        """Go on with the entries that are there, after an older copy was put back or some were lost."""
        revision: int = await self._work.run(self._accept)
        self._work.close_streams()
        return {"revision": revision}

    def _accept(self, transaction: Any) -> int:
        self._tables.log.go_on_behind(transaction, self._witness.accept())
        self._tables.log.accept(transaction)
        return self._tables.log.revision(transaction)

    async def healthy(self) -> str | None:
        return await self._work.trouble() or None


async def _received(data: AsyncIterator[bytes], *, is_text: bool) -> HiddenBytes:
    """Return what was sent. Raises InvalidArgument, which says nothing of it."""
    parts: list[bytes] = []
    size = 0
    async for part in data:
        size += len(part)
        if size > VALUE_BYTES + 1:
            raise InvalidArgument(f"the value has more than {VALUE_BYTES} bytes: keep large things elsewhere")
        parts.append(part)
    value = b"".join(parts)
    if is_text:
        value = value.removesuffix(b"\n")
        try:
            value.decode()
        except UnicodeDecodeError:
            raise InvalidArgument("the value is no UTF-8 text: give kind=bytes") from None
    if not value:
        raise InvalidArgument("the value is empty: send it as the upload, `tlsrt call` takes it from standard input")
    if len(value) > VALUE_BYTES:
        raise InvalidArgument(f"the value has more than {VALUE_BYTES} bytes: keep large things elsewhere")
    return HiddenBytes(value)


def _printable(parameter: str, text: str) -> str:
    if not text.isprintable():
        raise InvalidArgument(f"{parameter}: expected printable characters only")
    return text
