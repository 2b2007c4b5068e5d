"""Datagram sockets that answer and do no more: programs in the kernel, on a control group of the sockets.

A filter of system calls sees no address, and no call tells the supervisor who a process has heard from. But the kernel
asks programs that are attached to a control group (version 2, bpf(2)) about both: UDPx_RECVMSG when a datagram is
handed over, with the address that it came from, and UDPx_SENDMSG when a call names where one goes. The first notes the
peer, its port, and the port and address that the socket is bound to; the second lets through what was noted within the
last minutes, and answers EPERM to all else. A socket that is bound to an interface sends there alone, though IPv6 lets
who sends name another one (sin6_scope_id): a third program, INET_EGRESS, drops what would leave elsewhere. What is for
an address of this host leaves by its loopback interface, whichever has the address: so that may, too, but not what is
for a group of IPv6, which a scope could choose there. A peer with a link-local address of IPv6 is noted for such a
socket only: another host may have the same address on another link. A socket belongs to the group of the process that
made it, for its life and wherever it is passed, so these are made by a child that is forked into the group, and handed
over.
Instructions by hand: tlsrt has no compiler.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from tlsrt.sandbox.syscalls import call, fork

REMEMBERED_S = 300
MOST_PEERS = 4096  # of all sockets of the group: the one that was heard of longest ago makes room
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _PROG_ATTACH = 0, 2, 5, 8  # commands of bpf(2)
_HASH, _LRU_HASH, _CGROUP_SKB, _SOCK_ADDR = 1, 9, 8, 18
_EGRESS = 1  # enum bpf_attach_type
_KEY_BYTES, _MOST_GROUPS = 48, 256
_LOOKUP, _UPDATE, _KTIME, _LOAD_BYTES = 1, 2, 5, 26  # helpers, bpf-helpers(7)
_INSTRUCTION = struct.Struct("=BBhi")
_CONTEXT, _FRAME = 6, 10  # registers
# On the stack: address (16 bytes) and port of the peer; port, address (16 bytes) and interface of the socket.
_KEY, _KEY_INTERFACE = -48, -8
_NOW = -56
_WORD = -8
_USER_IP4, _USER_IP6, _USER_PORT, _SOCKET = 4, 8, 24, 64  # struct bpf_sock_addr
_BOUND_INTERFACE, _SOURCE_IP4, _SOURCE_IP6, _SOURCE_PORT = 0, 24, 28, 44  # struct bpf_sock: what it is bound to
_PROTOCOL, _LEAVES_BY, _PACKET_SOCKET = 16, 40, 168  # struct __sk_buff: protocol, ifindex, sk
_LOOPBACK = 1  # the index of `lo` in each network namespace
_IP6 = socket.htons(0x86DD)  # ETH_P_IPV6
_DESTINATION_IP6, _FIRST_BYTE = 24, struct.unpack("=i", b"\xff\0\0\0")[0]  # of the header; all groups begin so
_PREFIX, _LINK_LOCAL = struct.unpack("=ii", b"\xff\xc0\0\0\xfe\x80\0\0")  # fe80::/10, as the first word is loaded
_LOG = 16384


@dataclass(frozen=True, slots=True)
class Hook:
    """One place where the kernel asks: enum bpf_attach_type, of which family, and whether it is about sending."""

    number: int
    is_six: bool
    sends: bool


HOOKS = (Hook(14, False, True), Hook(15, True, True), Hook(19, False, False), Hook(20, True, False))


@dataclass(frozen=True, slots=True)
class AnsweringGroup:
    """A control group that is held so, by its descriptor; and the table of multicast groups that its sockets are of."""

    folder: int
    groups: int

    def let_send_to(self, group: str, port: int, interface: int = 0) -> None:
        """Let the sockets of a port send to a multicast group, at the same port. Raises OSError.

        `interface` is the index of the one that they are bound to, 0 for none.
        """
        key = ctypes.create_string_buffer(group_key(group, port, interface), _KEY_BYTES)
        value = ctypes.create_string_buffer(8)
        attributes = struct.pack("=IIQQQ", self.groups, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
        _bpf(_MAP_UPDATE, attributes)


def group_key(group: str, port: int, interface: int = 0) -> bytes:
    """Return the key of a socket that is bound to a group, and perhaps an interface, and sends to it. Pure."""
    address = ipaddress.ip_address(group).packed.ljust(16, b"\0")
    return address + struct.pack("!HH", port, 0) + struct.pack("=I", port) + address + struct.pack("=II", interface, 0)


def program_of(hook: Hook, peers: int, groups: int) -> bytes:
    """Return the instructions for one hook; `peers` and `groups` are the descriptors of the maps. Pure."""
    source, parts = (_SOURCE_IP6, (0, 4, 8, 12)) if hook.is_six else (_SOURCE_IP4, (0,))
    user = _USER_IP6 if hook.is_six else _USER_IP4
    code = [
        _move(_CONTEXT, 1), *(_store_0(_KEY + at) for at in range(0, _KEY_BYTES, 8)),
        *(_copy(user + at, _KEY + at) for at in parts),
        _copy(_USER_PORT, _KEY + 16),
        _load(1, _CONTEXT, _SOCKET, wide=True), _load(0, 1, _SOURCE_PORT), _store(_KEY + 20, 0),
        *(_load(0, 1, source + at) + _store(_KEY + 24 + at, 0) for at in parts),
        _load(0, 1, _BOUND_INTERFACE), _store(_KEY_INTERFACE, 0),
    ]  # fmt: skip
    if hook.sends:
        known = [_map(peers), _pointer(2, _KEY), _call(_LOOKUP)]
        late = [_load(7, 0, 0, wide=True), _call(_KTIME), _subtract(0, 7), _constant(1, REMEMBERED_S * 10**9)]
        allow = [_set(0, 1), _exit()]
        code += [_map(groups), _pointer(2, _KEY), _call(_LOOKUP), _jump_if_0(0, _length(allow)), *allow, *known]
        code += [_jump_if_0(0, _length(late) + 1 + _length(allow)), *late]
        code += [_jump_if_above(0, 1, _length(allow)), *allow, _set(0, 0), _exit()]
    else:
        if hook.is_six:
            code += [_load(0, _FRAME, _KEY), _and(0, _PREFIX), _jump_unless(0, _LINK_LOCAL, 4)]
            code += [_load(0, _FRAME, _KEY_INTERFACE), _jump_unless(0, 0, 2), _set(0, 1), _exit()]
        code += [_call(_KTIME), _store(_NOW, 0, wide=True), _map(peers), _pointer(2, _KEY), _pointer(3, _NOW)]
        code += [_set(4, 0), _call(_UPDATE), _set(0, 1), _exit()]
    return b"".join(code)


def egress_program() -> bytes:
    """Return the instructions that drop what would leave by another interface than its socket is bound to. Pure.

    What goes to this host itself is let through: it leaves by the loopback interface, whose index is always 1.
    """
    allow, drop = [_set(0, 1), _exit()], [_set(0, 0), _exit()]
    bound = [_load(1, 1, _BOUND_INTERFACE), _jump_if_0(1, 2), _load(2, _CONTEXT, _LEAVES_BY)]
    differs = _jump_unless_same(1, 2, _length(allow))
    code = [_move(_CONTEXT, 1), _load(1, _CONTEXT, _PACKET_SOCKET, wide=True), _jump_if_0(1, _length(bound) + 1)]
    to_group = [
        _move(1, _CONTEXT), _set(2, _DESTINATION_IP6), _pointer(3, _WORD), _set(4, 4), _call(_LOAD_BYTES),
        _jump_unless(0, 0, 3 + _length(allow)), _load(0, _FRAME, _WORD), _and(0, _FIRST_BYTE),
        _jump_if(0, _FIRST_BYTE, _length(allow)),
    ]  # fmt: skip
    is_six = [_load(3, _CONTEXT, _PROTOCOL), _jump_unless(3, _IP6, _length(to_group))]
    is_own = _jump_unless(2, _LOOPBACK, _length(is_six) + _length(to_group) + _length(allow))
    return b"".join([*code, *bound, differs, *allow, is_own, *is_six, *to_group, *allow, *drop])


def _length(code: list[bytes]) -> int:
    return sum(map(len, code)) // _INSTRUCTION.size


def _one(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, to | source << 4, offset, value)


def _move(to: int, source: int) -> bytes:
    return _one(0xBF, to, source)


def _set(to: int, value: int) -> bytes:
    return _one(0xB7, to, value=value)


def _subtract(to: int, source: int) -> bytes:
    return _one(0x1F, to, source)


def _and(to: int, value: int) -> bytes:
    return _one(0x54, to, value=value)  # of 32 bits


def _load(to: int, source: int, offset: int, *, wide: bool = False) -> bytes:
    return _one(0x79 if wide else 0x61, to, source, offset)


def _store(offset: int, source: int, *, wide: bool = False) -> bytes:
    return _one(0x7B if wide else 0x63, _FRAME, source, offset)


def _store_0(offset: int) -> bytes:
    return _one(0x7A, _FRAME, 0, offset, 0)


def _copy(offset: int, to: int) -> bytes:
    return _load(0, _CONTEXT, offset) + _store(to, 0)


def _pointer(to: int, offset: int) -> bytes:
    return _move(to, _FRAME) + _one(0x07, to, value=offset)


def _constant(to: int, value: int) -> bytes:
    low, high = struct.unpack("=ii", struct.pack("=Q", value))
    return _one(0x18, to, value=low) + _one(0, value=high)


def _map(descriptor: int) -> bytes:
    return _one(0x18, 1, 1, value=descriptor) + _one(0)  # BPF_PSEUDO_MAP_FD


def _call(helper: int) -> bytes:
    return _one(0x85, value=helper)


def _jump_if_0(register: int, over: int) -> bytes:
    return _one(0x15, register, offset=over)


def _jump_unless(register: int, value: int, over: int) -> bytes:
    return _one(0x56, register, offset=over, value=value)  # of 32 bits


def _jump_if(register: int, value: int, over: int) -> bytes:
    return _one(0x16, register, offset=over, value=value)  # of 32 bits


def _jump_unless_same(register: int, other: int, over: int) -> bytes:
    return _one(0x5D, register, other, offset=over)


def _jump_if_above(register: int, other: int, over: int) -> bytes:
    return _one(0x2D, register, other, offset=over)


def _exit() -> bytes:
    return _one(0x95)


def attach(group: int) -> AnsweringGroup:
    """Hold all datagram sockets that are made in a control group (its descriptor) to answers. Raises OSError."""
    peers = _bpf(_MAP_CREATE, struct.pack("=IIII", _LRU_HASH, _KEY_BYTES, 8, MOST_PEERS))
    groups = -1
    try:
        groups = _bpf(_MAP_CREATE, struct.pack("=IIII", _HASH, _KEY_BYTES, 8, _MOST_GROUPS))
        _attach(group, _EGRESS, _CGROUP_SKB, egress_program())
        for hook in HOOKS:
            _attach(group, hook.number, _SOCK_ADDR, program_of(hook, peers, groups))
    except OSError:
        if groups >= 0:
            os.close(groups)
        raise
    finally:
        os.close(peers)
    return AnsweringGroup(group, groups)


def _attach(group: int, where: int, kind: int, code: bytes) -> None:
    program = _load_program(where, kind, code)
    try:
        _bpf(_PROG_ATTACH, struct.pack("=IIII", group, program, where, 0))
    finally:
        os.close(program)


def _load_program(where: int, kind: int, code: bytes) -> int:
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"MIT")
    attributes = struct.pack(
        "=IIQQIIQII16sII", kind, len(code) // _INSTRUCTION.size, ctypes.addressof(instructions),
        ctypes.addressof(licence), 0, 0, 0, 0, 0, b"tlsrt_replies", 0, where,
    )  # fmt: skip
    return _bpf(_PROG_LOAD, attributes)


def _bpf(command: int, attributes: bytes) -> int:
    """bpf(2)."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return call("bpf", ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes)))


def made_in(group: int, make: Callable[[], int]) -> int:
    """Return a socket that a child makes which is forked into a control group. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            pid = fork(group)
            if pid == 0:
                _make_and_end(theirs, make)
        try:
            data, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
        finally:
            os.waitpid(pid, 0)
    if not descriptors:
        number = int(data or errno.EIO)
        raise OSError(number, os.strerror(number))
    return descriptors[0]


def _make_and_end(theirs: socket.socket, make: Callable[[], int]) -> NoReturn:
    """In the child: nothing but this runs here, and it ends."""
    try:
        socket.send_fds(theirs, [b"0"], [make()])
    except OSError as error:
        theirs.send(str(error.errno or errno.EIO).encode())
    finally:
        os._exit(0)
