"""The command `tlsrt`."""
