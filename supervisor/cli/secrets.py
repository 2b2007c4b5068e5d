"""`tlsrt-supervisor secret`: set, make, list and remove the secrets of components."""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys

from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.config import key_schedule
from tlsrt.config.init import key_in_force
from tlsrt.config.key_providers import key_path
from tlsrt.config.key_rotation import Staged, next_token, only_one, withdraw
from tlsrt.config.schema import Config
from tlsrt.config.secrets import (
    NONCE_BYTES,
    VALUE_MAX,
    SecretId,
    read_sealings,
    seal_secret,
    sealed_components,
    write_sealings,
)
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.cli.exchange import RequestRefused, ask, config_of, say
from tlsrt.supervisor.cli.lifecycle import restart_s
from tlsrt.supervisor.control.client import ControlRefused, NotRunning
from tlsrt.text import did_you_mean, printable

MADE_BYTES = 32  # of a secret that is made here


def set_secret(arguments: argparse.Namespace) -> Document:
    """Seal a value for one component, and have its process started anew with it."""
    config = config_of(arguments, writes=True)
    _check_known(config, arguments.address, arguments.name)
    return _sealed(config, arguments.address, arguments.name, _value(arguments.address, arguments.name))


def make_secret(arguments: argparse.Namespace) -> Document:
    """Seal random bytes that are not shown; one that is set is kept, unless it is to be replaced."""
    config = config_of(arguments, writes=True)
    _check_known(config, arguments.address, arguments.name)
    return _sealed(
        config, arguments.address, arguments.name, secrets.token_bytes(MADE_BYTES), is_new=not arguments.replace
    )


def _sealed(config: Config, address: str, name: str, value: bytes, *, is_new: bool = False) -> Document:
    with only_one(config):
        if is_new and name in read_sealings(config.state_dir, address):
            raise ConfigError(
                f"{address} has a secret {name} already, and what is sealed under it would be lost with it: keep it, "
                "or use --replace"
            )
        _, version = key_in_force(config)
        # One that was broken off may still be put in force, and would find no sealing of its own.
        withdraw(config, Staged(version + 1, key_path(config.master_key, version + 1), next_token(config)))
        key, version = key_in_force(config)
        prk = key_schedule.extract(config.install_id, key)
        component_key = key_schedule.secret_key(key_schedule.secret_root(prk), address)
        sealed = seal_secret(
            component_key, SecretId(config.install_id, address, name, version), value, secrets.token_bytes(NONCE_BYTES)
        )
        entries = {**read_sealings(config.state_dir, address), name: {version: sealed}}
        write_sealings(config.state_dir, address, entries)
    return {"component": address, "name": name, "restarted": _restarted(config, address)}


def set_lines(answer: Document) -> list[str]:
    found = f"{answer['component']}: secret {answer['name']} is set"
    if answer["restarted"]:
        return [f"{found}, and {answer['restarted']} was started anew with it"]
    return [f"{found}; the next start of its process takes it"]


def _check_known(config: Config, address: str, name: str) -> None:
    """Refuse a secret that no component asks for: it would lie there for nothing."""
    components = {one.address: [each.name for each in one.needs.secrets] for one in config.components}
    if address not in components:
        hint = did_you_mean(address, components)
        raise InvalidArgument(f"there is no component {printable(address, 60)}{hint}; `component list` shows all")
    names = components[address]
    if name not in names:
        hint = did_you_mean(name, names) or (f": it asks for {', '.join(names)}" if names else ": it asks for none")
        raise InvalidArgument(f"{address} asks for no secret {printable(name, 60)}{hint}")


def _value(address: str, name: str) -> bytes:
    if sys.stdin.isatty():
        value = getpass.getpass(f"{name} of {address} (not shown): ").encode()
    else:
        value = sys.stdin.buffer.read(VALUE_MAX + 2).removesuffix(b"\n")
    if not value:
        raise InvalidArgument("the secret is empty: type it, or give it on standard input")
    if len(value) > VALUE_MAX:
        raise InvalidArgument(
            f"the secret is longer than {VALUE_MAX} bytes: keep large things in the component's folder"
        )
    return value


def _restarted(config: Config, address: str) -> str:
    """Start the process of a component anew, if the host runs; return its name."""
    process = next(one.process for one in config.components if one.address == address)
    try:
        answer = ask(config, "restart", timeout_s=restart_s(config, process), loop=process)
    except NotRunning:
        return ""
    except (RequestRefused, ControlRefused) as error:
        say(f"warning: {process} was not started anew: {error}")
        return ""
    if answer["failed"]:
        why = next((one["reason"] for one in answer["loops"] if one["reason"]), "see `status`")
        say(f"warning: {process} does not start with it: {printable(why, 600)}")
        return ""
    return process


def list_secrets(arguments: argparse.Namespace) -> Document:
    """Return every secret that a component asks for or that is set, never its value."""
    config = config_of(arguments)
    asked = {(one.address, each.name): each for one in config.components for each in one.needs.secrets}
    components = {*sealed_components(config.state_dir), *(address for address, _ in asked)}
    found = {(address, name) for address in components for name in read_sealings(config.state_dir, address)}
    return {
        "secrets": [
            {
                "component": address, "name": name, "is_set": (address, name) in found,
                "is_optional": one is not None and one.optional, "why": one.why if one is not None else None,
            }
            for address, name in sorted({*asked, *found})
            for one in (asked.get((address, name)),)
        ]
    }  # fmt: skip


def list_lines(answer: Document) -> list[str]:
    rows = [("COMPONENT", "NAME", "STATE", "WHY")]
    rows += [
        (
            one["component"], one["name"],
            "set" if one["is_set"] else "not set" if one["is_optional"] else "missing",
            "no component asks for it: remove it" if one["why"] is None else one["why"],
        )
        for one in answer["secrets"]
    ]  # fmt: skip
    return fitted_table(rows, cut="WHY") if len(rows) > 1 else ["no component asks for a secret"]


def remove_secret(arguments: argparse.Namespace) -> Document:
    """Remove a value; a process that has it keeps it until its end."""
    config = config_of(arguments, writes=True)
    with only_one(config):
        entries = dict(read_sealings(config.state_dir, arguments.address))
        if arguments.name not in entries:
            hint = did_you_mean(arguments.name, entries)
            raise ConfigError(f"{printable(arguments.address, 60)} has no secret {printable(arguments.name, 60)}{hint}")
        del entries[arguments.name]
        write_sealings(config.state_dir, arguments.address, entries)
    return {"component": arguments.address, "name": arguments.name}


def remove_lines(answer: Document) -> list[str]:
    return [f"{answer['component']}: secret {answer['name']} is removed; a process that has it keeps it until its end"]
