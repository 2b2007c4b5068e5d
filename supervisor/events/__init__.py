"""The events of a host: catalog, sources, bus, and the feeds to operators and components."""
