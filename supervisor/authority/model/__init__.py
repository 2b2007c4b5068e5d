"""The authority's memory: persistent state, client registry, and the ports that its services use."""
