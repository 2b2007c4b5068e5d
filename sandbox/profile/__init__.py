"""Profiles: what a process may see and use, composed from files and the configuration."""
