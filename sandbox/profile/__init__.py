"""Profiles: what one process may see and use, composed from policy files and the configuration."""
