"""The process of Primary: the gate's router, the doorway of clients, telemetry, and the component for events."""
