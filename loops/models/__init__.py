"""Modules that run in workers of the AI services: a model each, in a process without key, network and folder."""
