"""The bench: tlsrt beside its peers, row by row; README.md says how to read it and how to add a row."""
