"""Peers that run as processes of their own, one role a process."""
