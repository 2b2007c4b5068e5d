"""What a process with the door in it runs: the server, its contexts, and what speaks on its connections."""
