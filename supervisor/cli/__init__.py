"""The command `tlsrt-supervisor`, in processes of its own; no other package imports it."""
