"""Probes: what a confined process can do, and what an observer sees of it from outside."""
