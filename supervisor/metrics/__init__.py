"""The process that serves metrics and health: it holds no key, makes no socket, and hears requests of anyone here."""
