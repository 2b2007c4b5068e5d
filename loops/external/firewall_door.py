"""Whether rules would cut off a TCP port of this host, told before they are loaded. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tlsrt.loops.external.firewall_rules import Chain, Rule, Ruleset, ports_of


def door_sentences(ruleset: Ruleset, ports: Iterable[int]) -> list[str]:
    """Return a sentence for each port that new connections, or their answers, would not pass for all who may call."""
    found: list[str] = []
    for port in ports:
        into, out = ruleset.chains.get("input"), ruleset.chains.get("output")
        problem = _problem(into, port, is_answer=False) if into is not None else ""
        if problem:
            found.append(f"TCP port {port} would {problem} by these rules of input: add a rule that accepts it")
        problem = _problem(out, port, is_answer=True) if out is not None else ""
        if problem:
            found.append(f"answers from TCP port {port} would {problem} by these rules of output: accept established")
    return found


def _problem(chain: Chain, port: int, *, is_answer: bool) -> str:
    """Return what becomes of such packets, empty if all are accepted."""
    narrow: list[str] = []
    for rule in chain.rules:
        if not _fits(rule, port, is_answer=is_answer) or rule.action == "count":
            continue
        if rule.is_narrow:
            narrow += [rule.name] if rule.action == "accept" else []
        elif rule.action == "accept":
            return ""
        else:
            return _words(narrow, f"rule {rule.name}")
    return "" if chain.policy == "accept" else _words(narrow, "the policy")


def _words(narrow: list[str], what: str) -> str:
    return f"be open only as {' and '.join(narrow)} let it" if narrow else f"be cut off ({what})"


def _fits(rule: Rule, port: int, *, is_answer: bool) -> bool:
    """Tell whether a packet of a connection to the port may fit."""
    state = "established" if is_answer else "new"
    own, other = (rule.source_ports, rule.ports) if is_answer else (rule.ports, rule.source_ports)
    is_port = not own or any(first <= port <= last for first, last in map(ports_of, own))
    return rule.protocol in ("any", "tcp") and (not rule.states or state in rule.states) and is_port and not other
