"""The External loop, the only one with outbound network: facts, messaging and calling."""
