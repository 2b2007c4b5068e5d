"""The console's page for browsers, and WebSocket."""
