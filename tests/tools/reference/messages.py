"""The protocols between supervisor, authority and loops as Markdown, from their tables."""

from __future__ import annotations

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.life import LIFE
from tlsrt.channels.control.seqpacket import Message, MessageTable
from tlsrt.channels.control.trust import TRUST
from tools.reference.markdown import code, table

PROTOCOLS = (
    ("Life: supervisor and loop", LIFE),
    ("Trust: authority and loop", TRUST),
    ("Supervisor and authority", AUTHORITY_CHANNEL),
)
ANY = 6  # so many states of a loop are all in which it has a channel


def body() -> str:
    return "\n\n".join(f"## {title}\n\n{_protocol(protocol)}" for title, protocol in PROTOCOLS)


def _protocol(protocol: MessageTable) -> str:
    head = ("number", "message", "who may send it", "in which state", "fields", "meaning")
    return f"At most {protocol.cap} bytes.\n\n{table(head, [_row(message) for message in protocol.messages])}"


def _row(message: Message) -> tuple[str, ...]:
    fields = list(getattr(message.fields, "_fields", ()))
    if message.descriptors:
        fields.append(f"{message.descriptors} descriptors")
    about = (message.fields.__doc__ or "").partition("\n\n")[0] if fields else ""
    states = "any" if len(message.states) > ANY else ", ".join(sorted(message.states))
    return (
        str(message.code), code(message.name), ", ".join(sorted(message.who)), states, ", ".join(fields), about,
    )  # fmt: skip
