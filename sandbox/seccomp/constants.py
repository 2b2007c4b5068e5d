"""Names of argument values that policies use. The values are the same on x86_64 and aarch64; a test compares them with
the modules of the standard library that know them, or with the kernel headers.
"""

from __future__ import annotations

from collections.abc import Mapping

CONSTANTS: Mapping[str, int] = {
    # socket(2): address families and types
    "AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16,
    "SOCK_STREAM": 1, "SOCK_DGRAM": 2, "SOCK_RAW": 3, "SOCK_TYPE_MASK": 0xF,
    "NETLINK_ROUTE": 0,
    # send(2)
    "MSG_OOB": 0x1,
    "MSG_FASTOPEN": 0x20000000,
    # chmod(2)
    "S_ISUID": 0o4000, "S_ISGID": 0o2000, "S_ISVTX": 0o1000,
    # setsockopt(2): levels and options
    "SOL_SOCKET": 1, "IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17, "IPPROTO_IPV6": 41,
    "SO_REUSEADDR": 2, "SO_SNDBUF": 7, "SO_RCVBUF": 8, "SO_KEEPALIVE": 9, "SO_LINGER": 13, "SO_RCVTIMEO": 20,
    "SO_BROADCAST": 6, "SO_PRIORITY": 12, "SO_REUSEPORT": 15, "SOL_NETLINK": 270,
    "IP_TOS": 1, "IP_TTL": 2, "IP_MTU_DISCOVER": 10, "IP_BIND_ADDRESS_NO_PORT": 24,
    "IPV6_UNICAST_HOPS": 16, "IPV6_MTU_DISCOVER": 23, "IPV6_TCLASS": 67,
    "TCP_MAXSEG": 2, "TCP_CORK": 3, "TCP_SYNCNT": 7, "TCP_LINGER2": 8, "TCP_QUICKACK": 12, "TCP_FASTOPEN_CONNECT": 30,
    "SO_SNDTIMEO": 21, "TCP_NODELAY": 1, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6,
    "TCP_USER_TIMEOUT": 18, "IP_RECVERR": 11, "IPV6_RECVERR": 25, "IPV6_V6ONLY": 26,
    # mmap(2), mprotect(2)
    "PROT_WRITE": 2, "PROT_EXEC": 4, "MAP_SHARED": 1, "MAP_PRIVATE": 2,
    "MAP_HUGETLB": 0x40000, "MAP_TYPE": 0xF, "MAP_ANONYMOUS": 0x20, "MAP_GROWSDOWN": 0x100,
    # open(2)
    "O_EXCL": 0x80,
    # fcntl(2)
    "F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_SETFL": 4, "F_GETLK": 5, "F_SETLK": 6, "F_SETLKW": 7,
    "F_OFD_GETLK": 36, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38, "F_DUPFD_CLOEXEC": 1030, "F_ADD_SEALS": 1033,
    "F_GET_SEALS": 1034, "F_SETOWN": 8,
    # ioctl(2)
    "TCGETS": 0x5401, "TCFLSH": 0x540B, "TCGETS2": 0x802C542A, "TCSETS2": 0x402C542B,
    "FIONREAD": 0x541B, "FIONBIO": 0x5421, "FIONCLEX": 0x5450, "FIOCLEX": 0x5451, "FIOASYNC": 0x5452,
    "SIOCGIFNAME": 0x8910, "SIOCGIFCONF": 0x8912, "SIOCGIFFLAGS": 0x8913, "SIOCGIFADDR": 0x8915,
    "SIOCGIFBRDADDR": 0x8919, "SIOCGIFNETMASK": 0x891B, "SIOCGIFMTU": 0x8921, "SIOCGIFHWADDR": 0x8927,
    "SIOCGIFINDEX": 0x8933, "SIOCETHTOOL": 0x8946,
    # prctl(2)
    "PR_GET_PDEATHSIG": 2, "PR_GET_DUMPABLE": 3, "PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_GET_SECCOMP": 21,
    "PR_GET_SECUREBITS": 27, "PR_GET_NO_NEW_PRIVS": 39, "PR_SET_VMA": 0x53564D41,
    # execveat(2)
    "AT_EMPTY_PATH": 0x1000,
    # sched(7)
    "SCHED_OTHER": 0,
    # seccomp(2)
    "SECCOMP_SET_MODE_FILTER": 1,
    # clone(2), unshare(2)
    "CLONE_VM": 0x100, "CLONE_FS": 0x200, "CLONE_FILES": 0x400, "CLONE_SIGHAND": 0x800, "CLONE_PTRACE": 0x2000,
    "CLONE_VFORK": 0x4000, "CLONE_PARENT": 0x8000, "CLONE_THREAD": 0x10000, "CLONE_NEWNS": 0x20000,
    "CLONE_UNTRACED": 0x800000, "CLONE_NEWCGROUP": 0x2000000, "CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000,
    "CLONE_NEWUSER": 0x10000000, "CLONE_NEWPID": 0x20000000, "CLONE_NEWNET": 0x40000000,
}  # fmt: skip
