"""Stand-ins without processes: a host in memory, linked components, logs, proxies."""
