"""Components that reach hosts for their callers: whose rules they get."""

from __future__ import annotations

from dataclasses import replace

from tlsrt.config.access import PolicyRule
from tlsrt.config.components import ComponentConfig
from tlsrt.config.name_rules import parse_rule
from tlsrt.config.needs import EgressConfig, NeedsConfig, RelayConfig
from tlsrt.config.relays import with_relays


def component(address: str, *to: str) -> ComponentConfig:
    loop, _, name = address.partition("/")
    egress = (EgressConfig(tuple(map(parse_rule, to)), "a test"),) if to else ()
    return ComponentConfig(loop, name, class_path="x:X", needs=NeedsConfig(egress=egress))


def test_it_reaches_what_the_rules_of_those_list_that_may_call_it() -> None:
    clients = {
        "client/admin": (EgressConfig((parse_rule("203.0.113.1:443"),), "a test"),),
        "client/no": (EgressConfig((parse_rule("203.0.113.2:443"),), "a test"),),
    }
    fetch = component("external/fetch")
    fetch = replace(fetch, needs=replace(fetch.needs, relay=RelayConfig("a test", clients)))
    others = [component("third/a", "192.0.2.1:443"), component("third/b", "192.0.2.2:443"), component("third/c")]
    policy = [PolicyRule(source, "external/fetch", ("get",)) for source in ("third/a", "third/c", "client/admin")]
    found, *rest = with_relays([fetch, *others], policy)
    assert rest == others and found.needs.relay is not None
    reaches = {name: [str(rule) for rule in rules] for name, rules in found.needs.relay.reaches.items()}
    assert reaches == {"third/a": ["192.0.2.1:443"], "client/admin": ["203.0.113.1:443"]}
    assert [str(rule) for one in found.needs.egress for rule in one.rules] == ["192.0.2.1:443", "203.0.113.1:443"]
