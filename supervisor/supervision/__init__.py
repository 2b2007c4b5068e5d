"""Which processes run: start, heartbeats, deaths, restart policy, orderly end; and the authority's process from
outside."""
