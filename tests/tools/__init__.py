"""Programs that developers run: the suite in several processes, fuzzing, TLS scanners, a user-mode kernel."""
