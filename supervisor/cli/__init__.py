"""The command `tlsrt-supervisor`: what an operator types and reads. Runs in processes of its own; imported by
nobody."""
