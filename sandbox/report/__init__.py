"""What this host can enforce, and what a profile means, for people."""
