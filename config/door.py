"""Configuration of the door: where it listens, by which files, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.processes import DOOR_PROCESS, Placement
from tlsrt.config.setting import boolean, count, file_path, listing, number, seconds, text

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IP_ADDRESS = rf"{_BYTE}(?:\.{_BYTE}){{3}}|[0-9A-Fa-f]{{0,4}}:[0-9A-Fa-f:.]{{1,40}}"


@dataclass(frozen=True, slots=True)
class DoorConfig:
    """The TLS server: the one way in from outside."""

    host: str = field(
        metadata=text(
            "The address to listen on; no name, since no resolver is asked here.",
            default="127.0.0.1",
            pattern=IP_ADDRESS,
            says="an IP address, such as 127.0.0.1, or 0.0.0.0 for all",
        )
    )
    port: int = field(metadata=count("The TCP port; 0 picks a free one.", 0, 65535, default=7443))
    certificate: Path = field(
        metadata=file_path("The server's certificate chain, PEM.", example="server.crt", on_reload=True)
    )
    key: Path = field(metadata=file_path("The server's private key, PEM.", example="server.key", on_reload=True))
    client_ca: Path = field(
        metadata=file_path("The CA that signs the clients' certificates, PEM.", example="ca.crt", on_reload=True)
    )
    crl: Path | None = field(
        default=None,
        metadata=file_path(
            "Revocation lists of all client CAs, PEM or DER; without it none is read.", example="ca.crl", on_reload=True
        ),
    )
    client_ca_key: Path | None = field(
        default=None,
        metadata=file_path(
            "The private key of client_ca, PEM, mode 0600: `client add` enrols with it. Only the authority reads it.",
            example="ca.key",
        ),
    )
    watch: bool = field(
        default=False,
        metadata=boolean("Reload when certificate, key, client_ca or crl has changed. They must be on a local disk."),
    )
    max_connections: int = field(default=1024, metadata=count("Connections at a time.", 1, 65536))
    max_unauthenticated: int = field(
        default=256, metadata=count("Connections at a time that have not finished their handshake.", 1, 65536)
    )
    max_unauthenticated_per_address: int = field(
        default=16, metadata=count("Those of one address that have sent nothing; one more cuts the oldest.", 1, 65536)
    )
    max_connections_per_client: int = field(
        default=256, metadata=count("Connections of one client at a time; one more ends its idlest.", 1, 65536)
    )
    handshake_timeout_s: float = field(default=5.0, metadata=seconds("Time for a whole handshake.", 0.1, 60))
    first_flight_timeout_s: float = field(
        default=1.0, metadata=seconds("Time for the first message of a handshake, the ClientHello.", 0.1, 60)
    )
    require_post_quantum: bool = field(
        default=False,
        metadata=boolean(
            "Refuse clients that do not offer X25519MLKEM768, which is what is used with all others anyway."
        ),
    )
    http: bool = field(
        default=False,
        metadata=boolean(
            "Serve HTTP, for clients that are enrolled with --http; a client here with `http: true` does too."
        ),
    )
    console: bool = field(
        default=False,
        metadata=boolean(
            "Serve the console, a page that makes a browser a client: `tlsrt-supervisor console` prints the link. "
            "A reload that takes a change starts the process of the door anew.",
            on_reload=True,
        ),
    )
    http_jobs: bool = field(
        default=False,
        metadata=boolean(
            "Clients that may use HTTP may put calls off. A captured Primary, which holds their sessions, could then "
            "put jobs in their names, and those outlive it."
        ),
    )
    proxies: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Addresses of proxies, whose connections begin with a PROXY header (version 2), and no others'.",
            text("An address.", pattern=IP_ADDRESS, says="an IP address, such as 192.0.2.7"),
            64,
            example="[192.0.2.7]",
        ),
    )
    connections_per_address_s: float = field(
        default=50.0,
        metadata=number(
            "New connections a second of one certificate, and of one address whose handshakes fail, in the long run; "
            "ten times as many may come at once.",
            0.1,
            1e6,
            unit="1/s",
        ),
    )
    process: Placement = field(
        default="shared",
        metadata=text(
            "Where it runs. shared: in Primary; own: in a process primary.door, which holds the TLS key and parses "
            "what strangers send, and has no key of the gate. It costs each message one hop more.",
            choices=("own", "shared"),
        ),
    )

    @property
    def runs_in(self) -> str:
        """The name of the process that it runs in."""
        return DOOR_PROCESS if self.process == "own" else "primary"
