"""`tlsrt-supervisor backup`: the whole host in a file, and back."""
