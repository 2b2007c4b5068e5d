"""`tlsrt-supervisor component`: packages of components, what they ask for, and how they come into a host."""
