"""From the shell to a running supervisor: launcher, checks of the host, folders, measurement, programs of the
children."""
