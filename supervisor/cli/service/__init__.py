"""`tlsrt-supervisor unit`, `install` and `uninstall`: this host as a service of systemd."""
