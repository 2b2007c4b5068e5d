"""A bridge to an MQTT broker, and an inbox that keeps what it brings: two components for tlsrt."""
