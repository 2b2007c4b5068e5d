"""Attackers: captured loops and components, hostile TLS peers, faults that are injected."""
