"""TLS 1.3: the engine, its connections, and the messages on them."""
