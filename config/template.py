"""The text of a new tlsrt.yaml: small, whole, and with a comment where a reader would ask.

Where a comment is only what a setting says of itself, `_about` takes it from there.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.audit import AuditConfig
from tlsrt.config.schema import ChannelsConfig, Config, SandboxConfig
from tlsrt.config.setting import Setting, keys_of

_MAX_REASON = 500
_SETTINGS = {
    "install": keys_of(Config)["install"].setting,
    "measure": keys_of(Config)["measure"].setting,
    "deception": keys_of(Config)["deception"].setting,
    "audit": keys_of(AuditConfig)["keep_mb"].setting,
    "channels": keys_of(ChannelsConfig)["engine"].setting,
}

_TEXT = """\
# yaml-language-server: $schema=tlsrt.schema.json
#
# The configuration of this tlsrt host. Relative paths start at the folder of this file.
# After you change it, or the code it names, run `tlsrt-supervisor seal`: a host that is not what was sealed
# does not start. Unknown keys are refused, so a typing error cannot pass for a setting.

version: 2

{about_install}install: "{install}"

# The root of every key. Keep a copy in a safe place, and this one at mode 0600.
# Under systemd it can be a credential instead: {{provider: credential, name: tlsrt-master-key}}
master_key: {{provider: file, path: master.key}}

# Proof that code and configuration are what you sealed; written by `init` and `seal`.
boot_token: boot.token
{places}{measure}
# The TLS server, the one way in. Only clients with a certificate of client_ca get in: those that `tlsrt-supervisor
# client add` has enrolled, and those listed below. client_ca_key signs for the former; only the authority reads it.
door:
  host: "{host}"
  port: {port}
  certificate: server.crt
  key: server.key
  client_ca: ca.crt
  client_ca_key: ca.key

# Who may come in from outside: SHA-256 of the client's certificate. This is admin.tlsrt. A client that is to use HTTP
# (curl, a browser) needs `http: true` as well: Primary then holds its keys, so let it be a client of its own.
clients:
  admin:
    fingerprint: "{fingerprint}"
    may: [operate]  # a mistake of the operator's own client is a warning first; lock and unlock are others

# Who may call what. What is not listed is denied, and not even the keys for it exist.
# "from -> to": "*" for all methods, or a list of them. A * stands for a whole name: "client/* -> third/io".
policy:
  client/admin -> primary/kernel: "*"
  client/admin -> primary/hardware: "*"
  client/admin -> primary/events: "*"
  client/admin -> secondary/store: "*"
  client/admin -> third/io: "*"
  client/admin -> forth/power: "*"
  client/admin -> external/network: "*"
  # client/admin -> third/notes: [add, all]
  # third/notes -> secondary/store: [put, get]
  # third/notes -> primary/events: [lifecycle, health]

# Your own components, beside the built-in ones: the address loop/name, and the class in an installed package.
# components:
#   third/notes:
#     class: "notes:Notes"
#     options: {{title: My notes}}
#     needs: {{read: [/srv/pictures], memory_mb: 64}}  # write, egress and calls too, each with its reason
#     health: {{every_s: 10, then: none}}  # how often its `healthy` is asked, and what follows: restart, or none
#   external/network: null          # switches a built-in one off

# Settings of the five loops (primary, secondary, third, forth, external), or more loops of your own.
# Without an egress rule a loop reaches nothing outside; `tlsrt-supervisor sandbox show LOOP` says what it may, and why.
# primary.facts is the process of Primary's components; Primary itself runs the gate, the door and the events only.
# loops:
#   third: {{memory_mb: 256, read: [/srv/pictures]}}
#   reports: {{egress: [{{to: ["192.0.2.7:443"], why: the archive}}]}}

# A layer of the sandbox that this host cannot give stops the start, unless you waive it by name and say why.
# `tlsrt-supervisor sandbox check` tells which layers this host can give.
{sandbox}
{about_deception}# There are decoys by default: `tlsrt-supervisor honeypot list` shows them, `plant` writes canaries.
# deception:
#   components: [secondary/vault, third/shell]          # other names instead of the usual ones
#   methods: {{secondary/store: [dump, export_keys]}}
#   endpoint: {{host: 0.0.0.0, port: 8443}}               # looks like TLS, and holds connections open

{about_audit}# audit: {{keep_mb: 2048}}

{about_channels}# channels: {{engine: libzmq}}
"""

_UID_BASE = """\
  # The usual uids, from {usual} on, do not exist in this container. These do.
  uid_base: {uid_base}
"""

_PLACES = """
# The folders of state, sockets and logs, which the unit has systemd make for the user of the service.
state_dir: {places.state}
run_dir: {places.run}
log_dir: {places.log}
"""

_NOTHING_WAIVED = """\
# sandbox:
#   waive: {net_namespace: "this container forbids network namespaces"}
"""
_WAIVED = """\
  # The host that `init` ran on could not give these, so they are waived, with the kernel's reason. Every start and
  # `status` show them. Remove a line as soon as the host can give the layer: a start says so by then.
  waive:
"""

_STRICT = """
{about_measure}measure: strict
"""
_WARN = """
{about_measure}# Here warn: this is a development checkout, whose code changes all the time. Elsewhere write strict.
measure: warn
"""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A sandbox layer that the host cannot give, why, and what is lost without it."""

    layer: str
    reason: str
    voids: str


@dataclass(frozen=True, slots=True)
class MissingLayer:
    """What the host cannot give: layers, and the usual uids, for which `uid_base` stands."""

    waivers: tuple[Waiver, ...] = ()
    uid_base: int | None = None


NOTHING_LACKING = MissingLayer()


@dataclass(frozen=True, slots=True)
class Places:
    """Where state, sockets and logs are, if not beside the configuration: folders that a service manager makes."""

    state: Path
    run: Path
    log: Path


SYSTEM = Places(Path("/var/lib/tlsrt"), Path("/run/tlsrt"), Path("/var/log/tlsrt"))


def system_places(environment: Mapping[str, str]) -> Places:
    """Return the places of a service: those that systemd.exec(5) names in the environment, else the usual ones.

    They are written into the configuration, so that commands outside of the service find the same.
    """
    named = [environment.get(f"{name}_DIRECTORY", "").partition(":")[0] for name in ("STATE", "RUNTIME", "LOGS")]
    usual = (SYSTEM.state, SYSTEM.run, SYSTEM.log)
    return Places(*(Path(name) if name.startswith("/") else place for name, place in zip(named, usual, strict=True)))


def config_text(
    *, install: str, host: str, port: int, fingerprint: str, checkout: bool, lacking: MissingLayer = NOTHING_LACKING,
    places: Places | None = None,
) -> str:  # fmt: skip
    """Return the text of tlsrt.yaml for a new installation; `install` and `fingerprint` are hex."""
    about = {f"about_{name}": _about(setting) for name, setting in _SETTINGS.items()}
    measure = (_WARN if checkout else _STRICT).format(**about)
    waived = _WAIVED + "".join(map(_waiver_text, lacking.waivers)) if lacking.waivers else ""
    usual = SandboxConfig().uid_base
    uids = "" if lacking.uid_base is None else _UID_BASE.format(usual=usual, uid_base=lacking.uid_base)
    sandbox = f"sandbox:\n{uids}{waived}" if uids or waived else _NOTHING_WAIVED
    return _TEXT.format(
        install=install,
        host=host,
        port=port,
        fingerprint=fingerprint,
        measure=measure,
        sandbox=sandbox,
        places="" if places is None else _PLACES.format(places=places),
        **about,
    )


def _about(setting: Setting) -> str:
    """Return what a setting says of itself, as lines of a comment."""
    return "".join(f"{line}\n" for line in textwrap.wrap(f"# {setting.sentences}", 119, subsequent_indent="# "))


def _waiver_text(waiver: Waiver) -> str:
    """Return two lines; the reason is quoted as JSON, since it comes from the kernel or a path."""
    return f"    # without it: {waiver.voids}\n    {waiver.layer}: {json.dumps(waiver.reason[:_MAX_REASON])}\n"
