"""Network facts, messaging and calling: the External loop, the only one with outbound network."""
