"""Hosts for tests: with real processes, installed, scripted, or a real authority alone."""
