"""The authority's model: persistent state, tables, and the ports of its services."""
