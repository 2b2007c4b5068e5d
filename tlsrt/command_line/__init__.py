"""What `tlsrt` and `tlsrt-supervisor` share: parsing, help, completion and exit codes, from one table of verbs each."""
