"""Jobs: calls that were put off, kept by the authority until they are due."""
