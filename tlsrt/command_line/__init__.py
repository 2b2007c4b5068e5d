"""Command lines of `tlsrt` and `tlsrt-supervisor`: parsing, help, completion, exit codes.

Each command is a table of verbs: `tlsrt.channels.cli.verbs` and `tlsrt.supervisor.cli.verbs`.
"""
