"""What the built-in components share: facts from /proc and /sys, and samples of what changes."""
