"""A home behind a symmetric NAT: a namespace whose router is the peer of a host, with a real coturn on that router."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tools.programs import need

from hosts.joined_networks import PEER, JoinedNetworks, inside, said

TURN = 3478
SECRET = b"a-long-term-secret-of-the-relay"
_RULES = """
table ip home {
  chain leave { type nat hook postrouting priority srcnat; oifname "v1" masquerade random,fully-random; }
  chain pass { type filter hook forward priority filter; }
}
"""


class HomeBehindNat:
    """`space` is the namespace of the home. Its router gives each connection another port; it runs the TURN server."""

    def __init__(self, networks: JoinedNetworks) -> None:
        need("nft")
        self.space = f"tlsrt-home-{os.getpid()}"
        self._router = networks.peer
        said("ip", "netns", "add", self.space)
        with inside(self._router):
            said("ip", "link", "add", "h0", "type", "veth", "peer", "name", "h1", "netns", self.space)
            said("ip", "address", "add", "10.8.0.1/24", "dev", "h0")
            said("ip", "link", "set", "h0", "up")
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            subprocess.run([need("nft"), "-f", "-"], input=_RULES, text=True, check=True)
            self._turn = subprocess.Popen(
                [
                    need("turnserver"), "-n", "--no-cli", "--no-tls", "--no-dtls", "-L", PEER, "-E", PEER,
                    "--use-auth-secret", f"--static-auth-secret={SECRET.decode()}", "--realm=home", "--log-file=stdout",
                    "--pidfile=", "--simple-log", f"--listening-port={TURN}",
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd=tempfile.gettempdir(),
            )  # fmt: skip
        with inside(self.space):
            said("ip", "address", "add", "10.8.0.2/24", "dev", "h1")
            said("ip", "link", "set", "lo", "up")
            said("ip", "link", "set", "h1", "up")
            said("ip", "route", "add", "default", "via", "10.8.0.1")

    def shut(self, *, is_shut: bool) -> None:
        """Let no datagram out of the home but to the router itself, or all again."""
        with inside(self._router):
            said("nft", "flush", "chain", "ip", "home", "pass")
            if is_shut:
                said("nft", "add", "rule", "ip", "home", "pass", "meta", "l4proto", "udp", "drop")

    def close(self) -> None:
        """End the server and remove the namespace."""
        self._turn.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._turn.wait(10)
        if self._turn.poll() is None:
            self._turn.kill()
            self._turn.wait()
        said("ip", "netns", "delete", self.space)
